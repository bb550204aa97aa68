// A registry that only gives: it serves the images of OCI layouts under the names that their indexes say, whatever registry
// those name. So nodes without a network pull with every policy, "Always" included.
//
// Usage: registry ADDRESS FOLDER, where FOLDER holds one folder a layout; new ones are seen at once.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

type descriptor struct {
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

var (
	request = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs)/([A-Za-z0-9._:-]+)$`)
	digest  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// resolve gives the digest of an image, in the layout that was added last.
func resolve(folder, image string) string {
	found := ""
	indexes, _ := filepath.Glob(filepath.Join(folder, "*", "index.json"))
	for _, path := range indexes {
		var index struct{ Manifests []descriptor }
		if text, err := os.ReadFile(path); err != nil || json.Unmarshal(text, &index) != nil {
			continue
		}
		for _, manifest := range index.Manifests {
			if manifest.Annotations["io.containerd.image.name"] == image {
				found = manifest.Digest
			}
		}
	}
	return found
}

func serve(folder string, answer http.ResponseWriter, asked *http.Request) {
	if asked.URL.Path == "/v2/" {
		return
	}
	parts := request.FindStringSubmatch(asked.URL.Path)
	if parts == nil {
		http.NotFound(answer, asked)
		return
	}
	wanted := parts[3]
	if !digest.MatchString(wanted) {
		// containerd tells a mirror whose image it is.
		wanted = resolve(folder, fmt.Sprintf("%s/%s:%s", asked.URL.Query().Get("ns"), parts[1], wanted))
	}
	if !digest.MatchString(wanted) {
		http.NotFound(answer, asked)
		return
	}
	blobs, _ := filepath.Glob(filepath.Join(folder, "*", "blobs", "sha256", strings.TrimPrefix(wanted, "sha256:")))
	if len(blobs) == 0 {
		http.NotFound(answer, asked)
		return
	}
	answer.Header().Set("Content-Type", "application/octet-stream")
	answer.Header().Set("Docker-Content-Digest", wanted)
	if parts[2] == "manifests" {
		answer.Header().Set("Content-Type", mediaType(blobs[0]))
	}
	http.ServeFile(answer, asked, blobs[0])
}

func mediaType(path string) string {
	var manifest struct{ MediaType string }
	if text, err := os.ReadFile(path); err != nil || json.Unmarshal(text, &manifest) != nil || manifest.MediaType == "" {
		return "application/vnd.oci.image.manifest.v1+json"
	}
	return manifest.MediaType
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: registry ADDRESS FOLDER")
		os.Exit(2)
	}
	handler := func(answer http.ResponseWriter, asked *http.Request) { serve(os.Args[2], answer, asked) }
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], http.HandlerFunc(handler)))
	os.Exit(1)
}
