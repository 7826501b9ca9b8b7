// Command external-secrets is the External Secrets Operator's own controllers of SecretStore and ExternalSecret, with its
// provider "fake", whose values stand in the store itself: what is tried with it is what Cardea asks of the operator, not
// the operator's stores. It has neither webhook nor leader election, and listens nowhere.
package main

import (
	"fmt"
	"os"
	"time"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	genv1alpha1 "github.com/external-secrets/external-secrets/apis/generators/v1alpha1"
	"github.com/external-secrets/external-secrets/pkg/controllers/externalsecret"
	"github.com/external-secrets/external-secrets/pkg/controllers/externalsecret/esmetrics"
	ctrlmetrics "github.com/external-secrets/external-secrets/pkg/controllers/metrics"
	"github.com/external-secrets/external-secrets/pkg/controllers/secretstore"
	"github.com/external-secrets/external-secrets/pkg/controllers/secretstore/ssmetrics"
	_ "github.com/external-secrets/external-secrets/pkg/provider/fake"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme, genv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	uncached := []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		Client:                 client.Options{Cache: &client.CacheOptions{DisableFor: uncached}},
	})
	if err != nil {
		return err
	}
	ctrlmetrics.SetUpLabelNames(false)
	ssmetrics.SetUpMetrics()
	esmetrics.SetUpMetrics()
	options := controller.Options{MaxConcurrentReconciles: 4}
	stores := &secretstore.StoreReconciler{
		Client: manager.GetClient(), Log: ctrl.Log, Scheme: scheme, RequeueInterval: 5 * time.Minute,
	}
	if err := stores.SetupWithManager(manager, options); err != nil {
		return err
	}
	secrets := &externalsecret.Reconciler{
		Client: manager.GetClient(), SecretClient: manager.GetClient(), Log: ctrl.Log, Scheme: scheme,
		RestConfig: config, RequeueInterval: time.Hour, EnableFloodGate: true,
	}
	if err := secrets.SetupWithManager(manager, options); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
