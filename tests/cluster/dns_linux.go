// The cluster's DNS: CoreDNS as a Deployment with the names, labels and ports by which network policies select it.
package main

const dnsAddress = "10.96.0.10"

func (c *controlPlane) installDNS() error {
	file, err := c.render("dns.yaml")
	if err != nil {
		return err
	}
	return c.apply("cluster DNS", file)
}

func (c *controlPlane) awaitDNS() error {
	err := c.await("cluster DNS is available", nodeReadyLimit, func() error {
		return c.api.hasCondition("/apis/apps/v1/namespaces/kube-system/deployments/coredns", "Available")
	})
	if err == nil {
		say("cluster DNS ready (%s)", since(c.started))
	}
	return err
}
