// The engines and logins that this Vault has, and what it takes to run them outside of Vault's own program.
package main

import (
	"context"
	"reflect"
	"slices"
	_ "unsafe" // for go:linkname

	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

var (
	engines = map[string]logical.Factory{
		"kv":      lenient(kv.Factory),
		"transit": lenient(transit.Factory),
		"pki":     lenient(pki.Factory),
		"leases":  leases,
	}
	logins = map[string]logical.Factory{
		"approle":    approle.Factory,
		"jwt":        jwt.Factory,
		"kubernetes": kubernetes.Factory,
	}
)

// builtins is the registry in which Vault looks up whether a name is one of its own.
type builtins struct{}

func (builtins) factories(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return engines
	case consts.PluginTypeCredential:
		return logins
	}
	return nil
}

func (b builtins) Contains(name string, kind consts.PluginType) bool {
	_, known := b.factories(kind)[name]
	return known
}

func (b builtins) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	factory, known := b.factories(kind)[name]
	return func() (interface{}, error) { return factory, nil }, known
}

func (b builtins) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range b.factories(kind) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

// The paths of the paid version, which this one has only to refuse them. The released SDK panics at how they are
// declared, so they are left out. The name is private to Vault: it holds for the version in go.mod.
//
//go:linkname entPaths github.com/hashicorp/vault/vault.entPaths
var entPaths func(*vault.SystemBackend) []*framework.Path

func init() {
	entPaths = func(*vault.SystemBackend) []*framework.Path { return nil }
}

// lenient adds what the released SDK insists on and the engines released with it lack: a word on whether something
// exists, for each path where it can be created. Without it transit panics a minute after it was mounted.
func lenient(factory logical.Factory) logical.Factory {
	return func(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
		made, err := factory(ctx, config)
		if err != nil {
			return made, err
		}
		value := reflect.Indirect(reflect.ValueOf(made))
		if value.Kind() != reflect.Struct || !value.FieldByName("Backend").IsValid() {
			return made, nil
		}
		inner, known := value.FieldByName("Backend").Interface().(*framework.Backend)
		if !known {
			return made, nil
		}
		for _, path := range inner.Paths {
			_, operation := path.Operations[logical.CreateOperation]
			_, callback := path.Callbacks[logical.CreateOperation]
			if path.ExistenceCheck == nil && (operation || callback) {
				path.ExistenceCheck = func(context.Context, *logical.Request, *framework.FieldData) (bool, error) { return true, nil }
			}
		}
		return made, nil
	}
}
