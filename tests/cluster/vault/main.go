// Command vault is a real Vault for tests: its core and its HTTP API, kept in memory, initialized and unsealed as soon as
// it listens. It prints one JSON line with the address, the root token and the key that unseals it, and ends when its
// standard input does, so that it does not outlive a test that was killed.
//
// Nothing is mounted: tests do that through the API, as people would.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/audit"
	auditfile "github.com/hashicorp/vault/builtin/audit/file"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// ready is what is printed.
type ready struct {
	Address   string `json:"address"`
	RootToken string `json:"rootToken"`
	UnsealKey string `json:"unsealKey"`
}

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen; port 0 is any free one")
	certificate := flag.String("certificate", "", "file with the certificate (PEM); without it plain HTTP is spoken")
	key := flag.String("key", "", "file with the certificate's key (PEM)")
	level := flag.String("log-level", "warn", "of what is written to standard error")
	flag.Parse()
	if err := run(*address, *certificate, *key, hclog.LevelFromString(*level)); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(address, certificate, key string, level hclog.Level) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	scheme := "http"
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		scheme = "https"
	}
	told := ready{Address: scheme + "://" + listener.Addr().String()}
	log := hclog.New(&hclog.LoggerOptions{Name: "vault", Level: level, Output: os.Stderr})
	core, err := newCore(told.Address, log)
	if err != nil {
		return err
	}
	if told.RootToken, told.UnsealKey, err = begin(core); err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{Type: "tcp", Address: listener.Addr().String(), TLSDisable: certificate == ""},
	})
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, handler) }()
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		failed <- nil
	}()
	return <-failed
}

func newCore(address string, log hclog.Logger) (*vault.Core, error) {
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return nil, err
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical: storage, Logger: log, DisableMlock: true, DisableCache: true, RedirectAddr: address,
		BuiltinRegistry: builtins{}, LogicalBackends: engines, CredentialBackends: logins,
		AuditBackends: map[string]audit.Factory{"file": auditfile.Factory},
	})
}

// begin gives the root token and the only key that there is.
func begin(core *vault.Core) (string, string, error) {
	ctx := namespace.RootContext(context.Background())
	made, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	if err != nil {
		return "", "", err
	}
	share := made.SecretShares[0]
	told := hex.EncodeToString(share)
	// Unsealing wipes the key that it is given.
	unsealed, err := core.Unseal(share)
	if err == nil && !unsealed {
		err = errors.New("one key does not unseal it")
	}
	return made.RootToken, told, err
}
