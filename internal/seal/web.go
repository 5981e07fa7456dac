package seal

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// TokenVariable is the environment variable with the token that a plugin behind
// HTTPS is shown.
const TokenVariable = "SAGEKEEP_SEAL_TOKEN"

// web is the transport of exec:https://HOST/PATH.
type web struct {
	url    *url.URL
	token  string
	client *http.Client
}

func newWeb(u *url.URL, token string) *web {
	return &web{url: u, token: token, client: &http.Client{
		Timeout: callTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (t *web) call(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call the plugin: %w", err)
	}
	defer resp.Body.Close()
	reply, err := readAnswer(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return reply, fmt.Errorf("the plugin answered %s", resp.Status)
	}
	return reply, nil
}

// readAnswer reads at most maxAnswer+1 bytes into a buffer that does not grow.
func readAnswer(r io.Reader) ([]byte, error) {
	b := make([]byte, maxAnswer+1)
	n, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull returns them bare
		err = nil
	}
	return b[:n], err
}
