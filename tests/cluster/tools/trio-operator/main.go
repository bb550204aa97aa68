// An operator as users write them with controller-runtime, for the parents of the fixture three_children: the yardstick of
// benchmarks. It is typed, creates or updates its children, owns them, serves sixteen parents at a time and does not throttle itself.
package main

import (
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	metrics := flag.String("metrics-bind-address", ":8080", "where metrics are served")
	health := flag.String("health-probe-bind-address", ":8081", "where probes are answered")
	workers := flag.Int("max-concurrent-reconciles", 16, "how many parents are served at a time")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*metrics, *health, *workers); err != nil {
		ctrl.Log.Error(err, "the operator ends")
		os.Exit(1)
	}
}

func run(metrics, health string, workers int) error {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(schemeBuilder.AddToScheme(scheme))
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// No limit of the client's own: the API server's priority and fairness is there for that.
	config.QPS = -1
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Metrics:                server.Options{BindAddress: metrics},
		HealthProbeBindAddress: health,
	})
	if err != nil {
		return err
	}
	if err := (&TrioReconciler{manager.GetClient()}).SetupWithManager(manager, workers); err != nil {
		return err
	}
	if err := manager.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
