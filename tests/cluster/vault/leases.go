// An engine that hands out credentials with a lease. It stands for the engines of databases, which do the same and need a
// database: `roles/NAME` says for how long, `creds/NAME` makes a credential, `alive/USERNAME` is there until it is revoked.
package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const credentialType = "credential"

// role says how long the credentials of a name live.
type role struct {
	TTL time.Duration `json:"ttl"`
	Max time.Duration `json:"max"`
}

type leasing struct {
	*framework.Backend
}

func leases(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	made := &leasing{}
	name := map[string]*framework.FieldSchema{"name": {Type: framework.TypeString}}
	made.Backend = &framework.Backend{
		BackendType: logical.TypeLogical,
		Paths: []*framework.Path{
			{
				Pattern: "roles/" + framework.GenericNameRegex("name"),
				Fields: map[string]*framework.FieldSchema{
					"name":    {Type: framework.TypeString},
					"ttl":     {Type: framework.TypeDurationSecond, Default: 60},
					"max_ttl": {Type: framework.TypeDurationSecond, Default: 3600},
				},
				Operations: map[logical.Operation]framework.OperationHandler{
					logical.UpdateOperation: &framework.PathOperation{Callback: made.writeRole},
				},
			},
			{
				Pattern: "creds/" + framework.GenericNameRegex("name"),
				Fields:  name,
				Operations: map[logical.Operation]framework.OperationHandler{
					logical.ReadOperation: &framework.PathOperation{Callback: made.hand},
				},
			},
			{
				Pattern: "alive/" + framework.GenericNameRegex("name"),
				Fields:  name,
				Operations: map[logical.Operation]framework.OperationHandler{
					logical.ReadOperation: &framework.PathOperation{Callback: made.alive},
				},
			},
		},
		Secrets: []*framework.Secret{{Type: credentialType, Renew: made.renew, Revoke: made.revoke}},
	}
	return made, made.Setup(ctx, config)
}

func (l *leasing) writeRole(ctx context.Context, request *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	entry, err := logical.StorageEntryJSON("roles/"+data.Get("name").(string), role{
		TTL: time.Duration(data.Get("ttl").(int)) * time.Second,
		Max: time.Duration(data.Get("max_ttl").(int)) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return nil, request.Storage.Put(ctx, entry)
}

func (l *leasing) role(ctx context.Context, storage logical.Storage, name string) (*role, error) {
	entry, err := storage.Get(ctx, "roles/"+name)
	if err != nil || entry == nil {
		return nil, err
	}
	var found role
	return &found, entry.DecodeJSON(&found)
}

func (l *leasing) hand(ctx context.Context, request *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	found, err := l.role(ctx, request.Storage, name)
	if err != nil || found == nil {
		return nil, err
	}
	username, password := name+"-"+rand.Text(), rand.Text()
	if err := request.Storage.Put(ctx, &logical.StorageEntry{Key: "alive/" + username, Value: []byte("{}")}); err != nil {
		return nil, err
	}
	answer := l.Secret(credentialType).Response(
		map[string]interface{}{"username": username, "password": password},
		map[string]interface{}{"username": username, "role": name},
	)
	answer.Secret.TTL, answer.Secret.MaxTTL = found.TTL, found.Max
	return answer, nil
}

func (l *leasing) alive(ctx context.Context, request *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	entry, err := request.Storage.Get(ctx, "alive/"+data.Get("name").(string))
	if err != nil || entry == nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]interface{}{"alive": true}}, nil
}

func (l *leasing) renew(ctx context.Context, request *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	name, _ := request.Secret.InternalData["role"].(string)
	found, err := l.role(ctx, request.Storage, name)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return logical.ErrorResponse("the role is gone"), nil
	}
	answer := &logical.Response{Secret: request.Secret}
	answer.Secret.TTL, answer.Secret.MaxTTL = found.TTL, found.Max
	return answer, nil
}

func (l *leasing) revoke(ctx context.Context, request *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	username, _ := request.Secret.InternalData["username"].(string)
	return nil, request.Storage.Delete(ctx, "alive/"+username)
}
