// The few questions that the launcher asks the API server while it waits.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

type apiClient struct {
	server string
	http   *http.Client
}

func newAPIClient(server string, keys *authority, certificate string) (*apiClient, error) {
	secured, err := keys.clientTLS(certificate)
	if err != nil {
		return nil, err
	}
	return &apiClient{server, &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: secured, ForceAttemptHTTP2: true},
	}}, nil
}

// get fills object from the answer, or only looks at the status when object is nil.
func (c *apiClient) get(path string, object any) error {
	response, err := c.http.Get(c.server + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, response.Status, firstLines(string(body)))
	}
	if object == nil {
		return nil
	}
	return json.Unmarshal(body, object)
}

// hasCondition says whether the object behind path reports a condition as true.
func (c *apiClient) hasCondition(path, condition string) error {
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := c.get(path, &object); err != nil {
		return err
	}
	for _, found := range object.Status.Conditions {
		if found.Type == condition {
			if found.Status == "True" {
				return nil
			}
			return fmt.Errorf("%s is %s: %s", condition, found.Status, firstLines(found.Message))
		}
	}
	return errors.New(condition + " is not reported yet")
}

func firstLines(text string) string {
	const most = 400
	text = strings.TrimSpace(text)
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
