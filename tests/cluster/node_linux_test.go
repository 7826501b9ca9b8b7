// What a node cluster promises, asked from inside of one. TestNodeCluster in launcher_linux_test.go calls this.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestInsideNodeCluster(t *testing.T) {
	if os.Getenv("CARDEA_CLUSTER_TIER") != string(nodeTier) {
		t.Skip("this runs inside `cluster run --tier node`")
	}
	peer := loadPeerImage(t)
	kubectl(t, "apply", "--server-side", "-f", "testdata/pods.yaml")
	kubectl(t, "wait", "-n", "proof", "--for=condition=Ready", "--timeout=60s", "pod", "--all")

	const byName = "http://web.proof.svc.cluster.local/"
	t.Run("a Pod reaches a Service by its name", func(t *testing.T) {
		mustReach(t, "stranger", byName)
		mustReach(t, "friend", byName)
	})
	t.Run("logs and port-forward work", func(t *testing.T) {
		if logs := kubectl(t, "logs", "-n", "proof", "web"); !strings.Contains(logs, "asked for /readiness") {
			t.Errorf("the log of web is %q", logs)
		}
		if answer := overPortForward(t); answer != "hello\n" {
			t.Errorf("through port-forward: %q", answer)
		}
	})
	t.Run("a projected token names its audience", func(t *testing.T) {
		claims := tokenClaims(t, inPod(t, "friend", "read", "/identity/token"))
		if len(claims.Audience) != 1 || claims.Audience[0] != "https://proof.example" || claims.Issuer != tokenIssuer {
			t.Errorf("claims: %+v", claims)
		}
	})
	t.Run("Pod Security refuses a privileged Pod", func(t *testing.T) {
		output, err := exec.Command("kubectl", "apply", "-f", "testdata/privileged.yaml").CombinedOutput()
		if err == nil || !strings.Contains(string(output), "violates PodSecurity") {
			t.Errorf("%v: %s", err, output)
		}
	})

	web := "http://" + kubectl(t, "get", "pod", "-n", "proof", "web", "-o", "jsonpath={.status.podIP}") + ":8080/"
	outside := "http://198.51.100.7:8080/"
	serveOutside(t, peer, "198.51.100.7:8080")
	fromOutside := func() error { return exec.Command("ip", "netns", "exec", outsideName, peer, "get", web).Run() }
	t.Run("without a policy Pods and the world reach each other", func(t *testing.T) {
		mustReach(t, "friend", outside)
		if err := fromOutside(); err != nil {
			t.Errorf("the world does not reach web: %v", err)
		}
	})

	kubectl(t, "apply", "-f", "testdata/deny.yaml")
	t.Run("deny all blocks everything", func(t *testing.T) {
		mustNotReach(t, "stranger", web)
		mustNotReach(t, "friend", web)
		mustNotReach(t, "friend", outside)
		if fromOutside() == nil {
			t.Error("the world still reaches web")
		}
	})
	t.Run("probes pass under deny all", func(t *testing.T) {
		kubectl(t, "apply", "-f", "testdata/late.yaml")
		kubectl(t, "wait", "-n", "proof", "--for=condition=Ready", "--timeout=60s", "pod/late")
	})

	kubectl(t, "apply", "-f", "testdata/allow.yaml")
	t.Run("allowed is exactly what is allowed", func(t *testing.T) {
		mustReach(t, "friend", web)
		mustReach(t, "friend", byName)
		mustReach(t, "friend", outside)
		mustNotReach(t, "stranger", web)
	})
	t.Run("nothing restarted", func(t *testing.T) {
		restarts := kubectl(t, "get", "pods", "-n", "proof", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}")
		if strings.Trim(restarts, "0 ") != "" {
			t.Errorf("restart counts: %s", restarts)
		}
	})
}

// loadPeerImage builds the test program, gives it to the node as an image, and returns the program.
func loadPeerImage(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "peer")
	build := exec.Command("go", "build", "-o", program, "./testdata/peer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build peer: %v\n%s", err, output)
	}
	image := program + ".tar"
	spec := imageSpec{name: "localhost/peer:1", files: map[string]string{"/peer": program}, entrypoint: []string{"/peer"}}
	if err := writeImage(image, spec); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("cluster", "load", image).CombinedOutput(); err != nil {
		t.Fatalf("cluster load: %v\n%s", err, output)
	}
	return program
}

func kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	var failure bytes.Buffer
	command := exec.Command("kubectl", arguments...)
	command.Stderr = &failure
	output, err := command.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, failure.String())
	}
	return string(output)
}

func inPod(t *testing.T, pod string, arguments ...string) string {
	t.Helper()
	return kubectl(t, append([]string{"exec", "-n", "proof", pod, "--", "/peer"}, arguments...)...)
}

func reach(pod, url string) error {
	return exec.Command("kubectl", "exec", "-n", "proof", pod, "--", "/peer", "get", url).Run()
}

// A policy is in force some hundred milliseconds after it was applied; an observation counts once it is stable.
const policyLimit = 20 * time.Second

func mustReach(t *testing.T, pod, url string) {
	t.Helper()
	for deadline := time.Now().Add(policyLimit); reach(pod, url) != nil; {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not reach %s", pod, url)
		}
	}
}

func mustNotReach(t *testing.T, pod, url string) {
	t.Helper()
	for deadline := time.Now().Add(policyLimit); reach(pod, url) == nil; {
		if time.Now().After(deadline) {
			t.Fatalf("%s still reaches %s", pod, url)
		}
	}
}

func serveOutside(t *testing.T, peer, address string) {
	t.Helper()
	server := exec.Command("ip", "netns", "exec", outsideName, peer, "serve", address)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
}

func overPortForward(t *testing.T) string {
	t.Helper()
	forward := exec.Command("kubectl", "port-forward", "-n", "proof", "pod/web", ":8080")
	output, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer forward.Wait()
	defer forward.Process.Kill()
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("port-forward: %v", err)
	}
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return body.String()
}

type claims struct {
	Issuer   string   `json:"iss"`
	Audience []string `json:"aud"`
}

func tokenClaims(t *testing.T, token string) (found claims) {
	t.Helper()
	sections := strings.Split(token, ".")
	if len(sections) != 3 {
		t.Fatalf("not a signed token: %q", token)
	}
	content, err := base64.RawURLEncoding.DecodeString(sections[1])
	if err == nil {
		err = json.Unmarshal(content, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}
