package main

// The device plug-in protocol of kubelet (k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1), as little of it as makes devices
// appear on the node: gRPC by hand, so that this builds from Go alone.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	socketFolder = "/var/lib/kubelet/device-plugins"
	enclave      = "sgx.intel.com/enclave"
	provision    = "sgx.intel.com/provision"
)

// text is a field of a protobuf message that holds bytes.
func text(number int, value string) []byte {
	out := binary.AppendUvarint(nil, uint64(number<<3|2))
	out = binary.AppendUvarint(out, uint64(len(value)))
	return append(out, value...)
}

// frame is a message as gRPC sends it: not compressed, length, bytes.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func protocols() *http.Protocols {
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	return only
}

// plugin offers the devices and stays.
func plugin() error {
	slots, err := strconv.Atoi(os.Getenv("CAPACITY_SGX_PODS"))
	if err != nil || slots < 1 {
		return fmt.Errorf("stand-in: CAPACITY_SGX_PODS has to be a number above 0: %w", err)
	}
	fmt.Println("stand-in for the SGX device plug-in, for tests:", slots, "devices that are none")
	ended := make(chan error)
	for _, resource := range []string{enclave, provision} {
		go func() { ended <- offer(resource, slots) }()
	}
	return <-ended
}

func offer(resource string, slots int) error {
	name := "standin-" + filepath.Base(resource) + ".sock"
	path := filepath.Join(socketFolder, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := &http.Server{Protocols: protocols(), Handler: handler(slots)}
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()
	if err := register(name, resource); err != nil {
		return fmt.Errorf("stand-in: kubelet does not take %s: %w", resource, err)
	}
	fmt.Println("kubelet took", resource)
	return <-served
}

// handler answers kubelet.
func handler(slots int) http.Handler {
	devices := []byte{}
	for slot := range slots {
		device := append(text(1, "slot-"+strconv.Itoa(slot)), text(2, "Healthy")...)
		devices = append(devices, text(1, string(device))...)
	}
	return http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
		answer.Header().Set("Content-Type", "application/grpc")
		answer.Header().Set("Trailer", "Grpc-Status")
		switch filepath.Base(asked.URL.Path) {
		case "ListAndWatch":
			answer.Write(frame(devices))
			answer.(http.Flusher).Flush()
			// Nothing ever changes.
			<-asked.Context().Done()
		case "Allocate":
			// One answer for each container that is asked for; kubelet asks for one at a time.
			answer.Write(frame(text(1, "")))
		default:
			answer.Write(frame(nil))
		}
		answer.Header().Set("Grpc-Status", "0")
	})
}

// register tells kubelet where the devices are offered.
func register(name, resource string) error {
	message := bytes.Join([][]byte{text(1, "v1beta1"), text(2, name), text(3, resource)}, nil)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(socketFolder, "kubelet.sock"))
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Protocols: protocols(), DialContext: dial}}
	asked, err := http.NewRequest("POST", "http://kubelet/v1beta1.Registration/Register", bytes.NewReader(frame(message)))
	if err != nil {
		return err
	}
	asked.Header.Set("Content-Type", "application/grpc")
	asked.Header.Set("Te", "trailers")
	answer, err := client.Do(asked)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	status := answer.Trailer.Get("Grpc-Status") + answer.Header.Get("Grpc-Status")
	if status != "0" {
		return fmt.Errorf("status %q %s%s", status, answer.Trailer.Get("Grpc-Message"), answer.Header.Get("Grpc-Message"))
	}
	return nil
}
