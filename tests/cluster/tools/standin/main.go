// A stand-in for SCONE's own images, for tests: it does what their probes see, and nothing of what they are for.
//
//	standin las            listens where LAS listens, and logs a public key that says what it is
//	standin sgx-plugin     offers SGX devices to kubelet; CAPACITY_SGX_PODS says how many
//	standin backup-controller  logs that it has registered the node
//	standin vault          answers where Vault answers, and logs an init statement
//	scone las probe --las ADDRESS ...   fails unless something listens there
//	scone cas attest|show-certificate|show-dcap-report|provision ...   asks the stand-in for CAS on this machine
//	stat, df, tail         as much of them as is asked of a pod of CAS
//	sh -c SCRIPT           runs the probe that the script names, or waits
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const lasAddress = ":18766"

// publicKey is in the form of a key, and no key: hex digits that spell what this is.
const publicKey = "57414e4400000000000000000000000000000000000000000000000000000001"

func main() {
	name, arguments := filepath.Base(os.Args[0]), os.Args[1:]
	switch {
	case name == "scone":
		end(scone(arguments))
	case name == "sh" && strings.Contains(strings.Join(arguments, " "), "scone las probe"):
		script := strings.Fields(arguments[len(arguments)-1])
		for at, word := range script {
			if word == "--las" && at+1 < len(script) {
				end(probe(script[at+1]))
			}
		}
		end(fmt.Errorf("stand-in: the script names no --las"))
	case name == "sh":
		wait()
	case len(arguments) == 1 && arguments[0] == "las":
		end(las())
	case len(arguments) == 1 && arguments[0] == "sgx-plugin":
		go func() { end(plugin()) }()
		wait()
	case name == "stat":
		end(modified(arguments[len(arguments)-1]))
	case name == "df":
		fmt.Println("Filesystem 1024-blocks Used Available Capacity Mounted on")
		fmt.Println("/dev/standin 1000000 100000 900000 10%", arguments[len(arguments)-1])
	case name == "tail":
		wait()
	case len(arguments) == 1 && arguments[0] == "backup-controller":
		fmt.Println("stand-in for the backup controller, for tests: it backs up nothing")
		fmt.Println(`registered nodes: {"node": true}`)
		wait()
	case len(arguments) == 1 && arguments[0] == "vault":
		go func() { end(vault()) }()
		wait()
	default:
		end(fmt.Errorf("stand-in: no idea how to be %q", os.Args))
	}
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func wait() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	os.Exit(0)
}

func las() error {
	listener, err := net.Listen("tcp", lasAddress)
	if err != nil {
		return err
	}
	fmt.Println("stand-in for LAS, for tests: it attests nothing")
	fmt.Println("DCAP quoting is not there; public key:", publicKey)
	go func() {
		for {
			if connection, err := listener.Accept(); err == nil {
				connection.Close()
			}
		}
	}()
	wait()
	return nil
}

func scone(arguments []string) error {
	if len(arguments) > 1 && arguments[0] == "cas" {
		return cas(arguments[1])
	}
	for at, word := range arguments {
		if word == "--las" && at+1 < len(arguments) {
			return probe(arguments[at+1])
		}
	}
	return fmt.Errorf("stand-in: usage: scone las probe --las ADDRESS")
}

func probe(address string) error {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return fmt.Errorf("stand-in: LAS does not answer: %w", err)
	}
	return connection.Close()
}
