// Images made without a container engine: an OCI layout in a tar with one layer, and giving such files to containerd.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
)

const (
	pauseImage   = "localhost/pause:1"
	corednsImage = "localhost/coredns:1"
)

// imageSpec is an image of a few files. Paths in the image are absolute.
type imageSpec struct {
	name       string
	files      map[string]string // path in the image: file on this machine
	entrypoint []string
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// writeImage writes an OCI layout that `ctr images import` names as the spec says.
func writeImage(file string, spec imageSpec) error {
	layer, err := layerOf(spec)
	if err != nil {
		return fmt.Errorf("layer of %s: %w", spec.name, err)
	}
	output, err := os.Create(file)
	if err != nil {
		return err
	}
	err = writeLayout(output, spec, layer)
	return errors.Join(err, output.Close())
}

func writeLayout(output io.Writer, spec imageSpec, layer []byte) error {
	archive := tar.NewWriter(output)
	blob := func(kind string, content []byte) (descriptor, error) {
		sum := sha256.Sum256(content)
		name := hex.EncodeToString(sum[:])
		err := addFile(archive, "blobs/sha256/"+name, 0o644, content)
		return descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + name, Size: len(content)}, err
	}

	layerBlob, err := blob("layer.v1.tar", layer)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": spec.entrypoint, "Env": []string{"PATH=/bin"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{layerBlob.Digest}},
	})
	if err != nil {
		return err
	}
	configBlob, err := blob("config.v1+json", config)
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": configBlob, "layers": []descriptor{layerBlob},
	})
	if err != nil {
		return err
	}
	manifestBlob, err := blob("manifest.v1+json", manifest)
	if err != nil {
		return err
	}
	manifestBlob.Annotations = map[string]string{"io.containerd.image.name": spec.name}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifestBlob}})
	if err != nil {
		return err
	}
	return errors.Join(
		addFile(archive, "index.json", 0o644, index),
		addFile(archive, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)),
		archive.Close(),
	)
}

// layerOf packs the files in a fixed order and without times, so that the same files give the same image.
func layerOf(spec imageSpec) ([]byte, error) {
	var buffer bytes.Buffer
	layer := tar.NewWriter(&buffer)
	for _, inImage := range slices.Sorted(maps.Keys(spec.files)) {
		content, err := os.ReadFile(spec.files[inImage])
		if err != nil {
			return nil, err
		}
		if err := addFile(layer, relative(inImage), 0o755, content); err != nil {
			return nil, err
		}
	}
	err := layer.Close()
	return buffer.Bytes(), err
}

func relative(inImage string) string {
	return path.Clean("/" + inImage)[1:]
}

func addFile(archive *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

// loadImages gives image files to the node, in the containerd namespace from which the kubelet takes images.
func loadImages(address string, files []string) error {
	if address == "" {
		return fmt.Errorf("there is no node: call this inside `cluster run --tier node`")
	}
	if len(files) == 0 {
		return fmt.Errorf("name at least one image file")
	}
	for _, file := range files {
		// An image that names no platform, as `crane append` makes it, would be passed over.
		output, err := exec.Command("ctr", "--address", address, "--namespace", "k8s.io",
			"images", "import", "--all-platforms", file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("load %s: %w\n%s", file, err, bytes.TrimSpace(output))
		}
	}
	return nil
}
