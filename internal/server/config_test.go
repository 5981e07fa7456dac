package server

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // "" is right
	}{
		"defaults":               {func(*Config) {}, ""},
		"no directory":           {func(c *Config) { c.DataDir = "" }, "data-dir"},
		"account":                {func(c *Config) { c.Account = "1234" }, "account"},
		"plain HTTP":             {func(c *Config) { c.Listen = "0.0.0.0:80" }, "plain HTTP"},
		"a proxy elsewhere":      {func(c *Config) { c.KeyProxies.ConnectTo = map[string]string{"hsm.example.com": "10.0.0.7:8443"} }, ""},
		"a proxy at no port":     {func(c *Config) { c.KeyProxies.ConnectTo = map[string]string{"hsm.example.com": "10.0.0.7"} }, "xks-connect"},
		"a proxy at no host":     {func(c *Config) { c.KeyProxies.ConnectTo = map[string]string{"hsm.example.com": ":8443"} }, "xks-connect"},
		"a proxy without a name": {func(c *Config) { c.KeyProxies.ConnectTo = map[string]string{"": "10.0.0.7:8443"} }, "xks-connect"},
		"a slow proxy":           {func(c *Config) { c.KeyProxies.Timeout = 2 * time.Second }, ""},
		"no time for proxies":    {func(c *Config) { c.KeyProxies.Timeout = time.Millisecond }, "xks-timeout"},
		"too much time":          {func(c *Config) { c.KeyProxies.Timeout = time.Minute }, "xks-timeout"},
	} {
		cfg := Config{DataDir: "data"}
		c.change(&cfg)
		err := cfg.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want a usage error with %q", name, err, c.want)
		}
	}
}
