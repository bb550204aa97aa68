package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"
)

// casAddress is where the stand-in for CAS listens in the same pod.
const casAddress = "127.0.0.1:8081"

// statement is in the form of Vault's init statement, and says nothing.
var statement = strings.Repeat("STANDIN0", 12)

// cas does what the command line does with a CAS.
func cas(what string) error {
	switch what {
	case "attest", "show-certificate":
		return probe(casAddress)
	case "show-dcap-report":
		fmt.Println("a stand-in's report, which proves nothing")
		return nil
	case "provision":
		return mark()
	default:
		return fmt.Errorf("stand-in: no idea how to %q a CAS", what)
	}
}

// mark adds the policy that marks a provisioned CAS.
func mark() error {
	// There is nobody to trust here.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	asked, err := http.NewRequest("PUT", "https://"+casAddress+"/stand-in/provision", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: transport}
	answer, err := client.Do(asked)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("stand-in: CAS answers %s", answer.Status)
	}
	return nil
}

// modified tells when a file was changed last, in seconds since 1970.
func modified(path string) error {
	found, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Println(found.ModTime().Unix())
	return nil
}

// vault serves, and says that all is well.
func vault() error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	fmt.Println("stand-in for Vault, for tests: it keeps no secrets")
	fmt.Println("init statement:", statement)
	server := http.Server{
		Addr:      ":8200",
		Handler:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	return server.ListenAndServeTLS("", "")
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}, err
}
