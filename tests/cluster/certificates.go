// The keys and certificates of one run, made in memory in milliseconds: one authority, and a certificate per component.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs everything in one run. Its private key lies in the run's folder because the controller manager signs
// certificate requests with it.
type authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

const (
	// Tests move their clocks back and forth by some minutes.
	certificateBackdating = time.Hour
	certificateLifetime   = 7 * 24 * time.Hour
)

// identity is what a certificate says about its holder. Kubernetes reads the name as the user, the groups as groups.
type identity struct {
	name      string
	groups    []string
	addresses []net.IP
	hosts     []string
}

func newAuthority(folder string) (*authority, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := certificateTemplate(identity{name: "cardea-test-cluster"})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = nil
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return nil, err
	}
	a := &authority{folder, certificate, key}
	return a, errors.Join(writePEM(a.certificateFile("ca"), "CERTIFICATE", encoded), writeKey(a.keyFile("ca"), key))
}

func (a *authority) certificateFile(name string) string { return filepath.Join(a.folder, name+".crt") }
func (a *authority) keyFile(name string) string         { return filepath.Join(a.folder, name+".key") }

// issue writes NAME.crt and NAME.key.
func (a *authority) issue(file string, holder identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := certificateTemplate(holder)
	if err != nil {
		return err
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", holder.name, err)
	}
	return errors.Join(writePEM(a.certificateFile(file), "CERTIFICATE", encoded), writeKey(a.keyFile(file), key))
}

// issueTokenKey makes the pair that signs ServiceAccount tokens: RSA, as in the clusters that people run.
func (a *authority) issueTokenKey(file string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(writeKey(a.keyFile(file), key), writePEM(filepath.Join(a.folder, file+".pub"), "PUBLIC KEY", public))
}

func certificateTemplate(holder identity) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: holder.name, Organization: holder.groups},
		NotBefore:    now.Add(-certificateBackdating),
		NotAfter:     now.Add(certificateLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses:  holder.addresses,
		DNSNames:     holder.hosts,
	}, nil
}

func writeKey(name string, key crypto.PrivateKey) error {
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(name, "PRIVATE KEY", encoded)
}

func writePEM(name, kind string, content []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}

// writeKubeconfig writes a file that holds all it needs, so that it can be handed to a container, too.
func (a *authority) writeKubeconfig(file, server, certificate string) error {
	var encoded [3]string
	for i, name := range []string{a.certificateFile("ca"), a.certificateFile(certificate), a.keyFile(certificate)} {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		encoded[i] = base64.StdEncoding.EncodeToString(content)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: cardea-test
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: %[3]s
  user: {client-certificate-data: %[4]s, client-key-data: %[5]s}
contexts:
- name: cardea-test
  context: {cluster: cardea-test, user: %[3]s}
current-context: cardea-test
`, server, encoded[0], certificate, encoded[1], encoded[2])
	return os.WriteFile(file, []byte(text), 0o600)
}

// clientTLS trusts this authority and shows one of its certificates.
func (a *authority) clientTLS(certificate string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(a.certificateFile(certificate), a.keyFile(certificate))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}
