package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// The label of the nodes that count.
const nodeLabel = "example.com/trio"

// TrioReconciler makes what the fixture three_children makes.
type TrioReconciler struct {
	client.Client
}

// Reconcile creates or updates three children, looks at the nodes and writes the status.
func (r *TrioReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var trio Trio
	if err := r.Get(ctx, request.NamespacedName, &trio); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !trio.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	if err := r.children(ctx, &trio); err != nil {
		return ctrl.Result{}, err
	}
	var nodes corev1.NodeList
	if err := r.List(ctx, &nodes, client.MatchingLabels{nodeLabel: "true"}); err != nil {
		return ctrl.Result{}, err
	}
	count := int64(len(nodes.Items))
	before := trio.Status.DeepCopy()
	trio.Status.Nodes = &count
	trio.Status.ObservedGeneration = trio.Generation
	meta.SetStatusCondition(&trio.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", Message: "all children exist",
		ObservedGeneration: trio.Generation,
	})
	if equality.Semantic.DeepEqual(before, &trio.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.Status().Update(ctx, &trio)
}

func (r *TrioReconciler) children(ctx context.Context, trio *Trio) error {
	metadata := metav1.ObjectMeta{Name: trio.Name, Namespace: trio.Namespace}
	config := &corev1.ConfigMap{ObjectMeta: metadata}
	if err := r.ensure(ctx, trio, config, func() {
		config.Data = map[string]string{"text": trio.Spec.Text}
	}); err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metadata}
	if err := r.ensure(ctx, trio, secret, func() {
		secret.Data = map[string][]byte{"text": []byte(trio.Spec.Text)}
	}); err != nil {
		return err
	}
	return r.ensure(ctx, trio, &corev1.ServiceAccount{ObjectMeta: metadata}, func() {})
}

// ensure creates or updates one child.
func (r *TrioReconciler) ensure(ctx context.Context, trio *Trio, child client.Object, set func()) error {
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, child, func() error {
		labels := child.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["app.kubernetes.io/name"] = "trio"
		child.SetLabels(labels)
		set()
		return controllerutil.SetControllerReference(trio, child, r.Scheme())
	})
	return err
}

// all gives every parent: a node concerns all of them.
func (r *TrioReconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var trios TrioList
	if err := r.List(ctx, &trios); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "the parents cannot be listed")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(trios.Items))
	for i := range trios.Items {
		name := types.NamespacedName{Namespace: trios.Items[i].Namespace, Name: trios.Items[i].Name}
		requests = append(requests, reconcile.Request{NamespacedName: name})
	}
	return requests
}

// SetupWithManager says what is watched, and how many are served at a time.
func (r *TrioReconciler) SetupWithManager(manager ctrl.Manager, workers int) error {
	return ctrl.NewControllerManagedBy(manager).
		For(&Trio{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.Secret{}).
		Owns(&corev1.ServiceAccount{}).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.all),
			builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}
