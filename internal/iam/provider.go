package iam

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Quotas of identity providers.
// Source: IAM User Guide, "IAM and AWS STS quotas"; IAM API Reference,
// CreateOpenIDConnectProvider.
const (
	providersPerAccount = 100
	clientsPerProvider  = 100
	printsPerProvider   = 5
)

// providerRow is one OpenID Connect provider, keyed by account and URL. Its
// case counts.
type providerRow struct {
	Account     string       `json:"account"`
	URL         string       `json:"url"` // without https://
	ClientIDs   []string     `json:"clientIds,omitempty"`
	Thumbprints []string     `json:"thumbprints,omitempty"` // SHA-1, hexadecimal
	Created     int64        `json:"created"`               // µs UTC
	Tags        []iamapi.Tag `json:"tags,omitempty"`
}

func providerTable() *store.Table[providerRow] { return store.Hashed[providerRow]("iam.oidcprovider") }

func (p *providerRow) arn() string { return providerARN(p.Account, p.URL) }

func providerARN(account, address string) string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + address
}

// providerOf reads the ARN of a provider.
func providerOf(providerARN string) (account, address string, ok bool) {
	a, ok := parseARN(providerARN)
	address, named := strings.CutPrefix(a.resource, "oidc-provider/")
	return a.account, address, ok && named && a.service == "iam" && validAccount(a.account) && validProviderURL(address)
}

// validProviderURL reports whether a URL without its https:// may name an
// issuer. A port is allowed, as issuers on premises often have one.
func validProviderURL(address string) bool {
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`?#*\"<>`, c) >= 0 {
			return false
		}
	}
	u, err := url.Parse("https://" + address)
	return err == nil && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// ErrNoSuchProvider is returned by OIDCProvider.
var ErrNoSuchProvider = errors.New("iam: the account has no such identity provider")

// OIDCProvider is what STS needs of an OpenID Connect provider. It is shared:
// change nothing in it.
type OIDCProvider struct {
	ARN         string
	URL         string // without https://, which begins its condition keys
	ClientIDs   []string
	Thumbprints []string
}

// OIDCProvider returns the account's provider for an issuer, as it is now.
//
// Errors: ErrNoSuchProvider, also for an account that does not exist.
func (s *Service) OIDCProvider(ctx context.Context, account, issuer string) (*OIDCProvider, error) {
	address, ok := strings.CutPrefix(issuer, "https://")
	if !ok || !validAccount(account) {
		return nil, ErrNoSuchProvider
	}
	var p providerRow
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		p, err = s.issuers.Get(tx, account, address)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoSuchProvider
	}
	if err != nil {
		return nil, fmt.Errorf("read identity provider: %w", err)
	}
	return &OIDCProvider{ARN: p.arn(), URL: p.URL, ClientIDs: p.ClientIDs, Thumbprints: p.Thumbprints}, nil
}

// registerProviders adds the operations on identity providers.
func (s *Service) registerProviders(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreateOpenIDConnectProvider, resolveCreateProvider, s.CreateOpenIDConnectProvider)
	protocol.Handle(r, iamapi.GetOpenIDConnectProvider, ofProvider(s, func(in *iamapi.GetOpenIDConnectProviderInput) string { return in.OpenIDConnectProviderArn }), s.GetOpenIDConnectProvider)
	protocol.Handle(r, iamapi.ListOpenIDConnectProviders, protocol.AnyResource[iamapi.ListOpenIDConnectProvidersInput], s.ListOpenIDConnectProviders)
	protocol.Handle(r, iamapi.DeleteOpenIDConnectProvider, ofProvider(s, func(in *iamapi.DeleteOpenIDConnectProviderInput) string { return in.OpenIDConnectProviderArn }), s.DeleteOpenIDConnectProvider)
	protocol.Handle(r, iamapi.UpdateOpenIDConnectProviderThumbprint, ofProvider(s, func(in *iamapi.UpdateOpenIDConnectProviderThumbprintInput) string { return in.OpenIDConnectProviderArn }), s.UpdateOpenIDConnectProviderThumbprint)
	protocol.Handle(r, iamapi.AddClientIDToOpenIDConnectProvider, ofProvider(s, func(in *iamapi.AddClientIDToOpenIDConnectProviderInput) string { return in.OpenIDConnectProviderArn }), s.AddClientIDToOpenIDConnectProvider)
	protocol.Handle(r, iamapi.RemoveClientIDFromOpenIDConnectProvider, ofProvider(s, func(in *iamapi.RemoveClientIDFromOpenIDConnectProviderInput) string {
		return in.OpenIDConnectProviderArn
	}), s.RemoveClientIDFromOpenIDConnectProvider)
	protocol.Handle(r, iamapi.TagOpenIDConnectProvider, ofProvider(s, func(in *iamapi.TagOpenIDConnectProviderInput) string { return in.OpenIDConnectProviderArn }, requestTags(func(in *iamapi.TagOpenIDConnectProviderInput) []iamapi.Tag { return in.Tags })), s.TagOpenIDConnectProvider)
	protocol.Handle(r, iamapi.UntagOpenIDConnectProvider, ofProvider(s, func(in *iamapi.UntagOpenIDConnectProviderInput) string { return in.OpenIDConnectProviderArn }, tagKeys(func(in *iamapi.UntagOpenIDConnectProviderInput) []string { return in.TagKeys })), s.UntagOpenIDConnectProvider)
	protocol.Handle(r, iamapi.ListOpenIDConnectProviderTags, ofProvider(s, func(in *iamapi.ListOpenIDConnectProviderTagsInput) string { return in.OpenIDConnectProviderArn }), s.ListOpenIDConnectProviderTags)
}

// resolveCreateProvider asks for the creation, and for the tagging that comes
// with it.
func resolveCreateProvider(ctx context.Context, in *iamapi.CreateOpenIDConnectProviderInput) ([]protocol.Check, error) {
	account := accountOf(ctx)
	c := authz.NewContext()
	setRequestTags(c, in.Tags)
	check := protocol.Check{Resource: providerARN(account, strings.TrimPrefix(in.Url, "https://")), Account: account, Context: c}
	checks := []protocol.Check{check}
	if len(in.Tags) > 0 {
		check.Action = "iam:TagOpenIDConnectProvider"
		checks = append(checks, check)
	}
	return checks, nil
}

// ofProvider is the resolver of operations on a provider, which belongs to the
// account in its ARN.
func ofProvider[In any](s *Service, name func(*In) string, facts ...fact[In]) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		c := protocol.Check{Resource: name(in), Account: accountOf(ctx), Context: authz.NewContext()}
		account, address, ok := providerOf(c.Resource)
		if !ok {
			return nil, invalidARN(c.Resource)
		}
		for _, f := range facts {
			f(in, nil, c.Context)
		}
		if c.Account = account; account != accountOf(ctx) {
			return []protocol.Check{c}, nil // whose tags a caller's own policies do not tell of
		}
		err := s.view(ctx, func(tx *store.Tx) error {
			p, err := s.issuers.Get(tx, account, address)
			if err == nil {
				resourceTags(c.Context, p.Tags)
			}
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read identity provider: %w", err)
		}
		return []protocol.Check{c}, nil
	}
}

func invalidARN(text string) error { return iamapi.InvalidInputException("ARN %s is not valid.", text) }

// provider returns the caller's provider of an ARN.
//
// Errors: InvalidInput for what is no provider's ARN; NoSuchEntity.
func (s *Service) provider(ctx context.Context, tx *store.Tx, providerARN string) (providerRow, error) {
	account, address, ok := providerOf(providerARN)
	if !ok {
		return providerRow{}, invalidARN(providerARN)
	}
	if account != accountOf(ctx) {
		return providerRow{}, noProvider(providerARN)
	}
	p, err := s.issuers.Get(tx, account, address)
	if errors.Is(err, store.ErrNotFound) {
		return providerRow{}, noProvider(providerARN)
	}
	if err != nil {
		return providerRow{}, fmt.Errorf("read identity provider: %w", err)
	}
	return p, nil
}

func noProvider(providerARN string) error {
	return iamapi.NoSuchEntityException("OpenIDConnect Provider not found for arn %s", providerARN)
}

func (s *Service) readProvider(ctx context.Context, providerARN string) (p providerRow, err error) {
	err = s.view(ctx, func(tx *store.Tx) (err error) {
		p, err = s.provider(ctx, tx, providerARN)
		return err
	})
	return p, err
}

// changeProvider rewrites a provider of the caller's account.
func (s *Service) changeProvider(ctx context.Context, providerARN string, fn func(*providerRow) error) error {
	return s.update(ctx, accountOf(ctx), func(tx *store.Tx) error {
		p, err := s.provider(ctx, tx, providerARN)
		if err != nil {
			return err
		}
		if err := fn(&p); err != nil {
			return err
		}
		return s.issuers.Put(tx, p, p.Account, p.URL)
	})
}

// CreateOpenIDConnectProvider adds an issuer whose tokens may ask for the
// account's roles. Without thumbprints its server must chain to a certificate
// authority that the system trusts: nothing is asked of the issuer here, and so
// no certificate is believed because it was shown first.
//
// Errors: EntityAlreadyExists; InvalidInput; LimitExceeded; ValidationError for
// a URL that is not https, has a query, or no host.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, in *iamapi.CreateOpenIDConnectProviderInput) (*iamapi.CreateOpenIDConnectProviderOutput, error) {
	address, https := strings.CutPrefix(in.Url, "https://")
	if !https || !validProviderURL(address) {
		return nil, iamapi.ValidationError("Invalid Open ID Connect Provider URL")
	}
	prints, err := thumbprints(in.ThumbprintList)
	if err != nil {
		return nil, err
	}
	clients, err := addClients(nil, in.ClientIDList)
	if err != nil {
		return nil, err
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	p := providerRow{Account: accountOf(ctx), URL: address, ClientIDs: clients, Thumbprints: prints, Created: s.stamp(), Tags: tags}
	out := &iamapi.CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: new(p.arn()), Tags: tags}
	err = s.update(ctx, p.Account, func(tx *store.Tx) error {
		all, err := s.providersOf(tx, p.Account)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(have providerRow) bool { return have.URL == p.URL }) {
			return iamapi.EntityAlreadyExistsException("Provider with url %s already exists.", in.Url)
		}
		if len(all) >= providersPerAccount {
			return iamapi.LimitExceededException("Cannot exceed quota for OpenIdConnectProvidersPerAccount: %d", providersPerAccount)
		}
		if err := s.issuers.Put(tx, p, p.Account, p.URL); err != nil {
			return err
		}
		protocol.Respond(ctx, iamapi.CreateOpenIDConnectProvider, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// providersOf lists an account's providers.
func (s *Service) providersOf(tx *store.Tx, account string) ([]providerRow, error) {
	var all []providerRow
	for row, err := range s.issuers.Scan(tx, store.Key{account}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list identity providers: %w", err)
		}
		all = append(all, row.Value)
	}
	return all, nil
}

// thumbprints checks a list of thumbprints and writes them in one way.
func thumbprints(list []string) ([]string, error) {
	if len(list) > printsPerProvider {
		return nil, iamapi.InvalidInputException("Thumbprint list must contain fewer than %d entries.", printsPerProvider)
	}
	prints := make([]string, len(list))
	for i, p := range list {
		p = strings.ToLower(p)
		if len(p) != 40 || strings.Trim(p, "0123456789abcdef") != "" {
			return nil, iamapi.InvalidInputException("Thumbprint %s is not the SHA-1 fingerprint of a certificate.", list[i])
		}
		prints[i] = p
	}
	return prints, nil
}

// addClients adds client ids that are not there.
func addClients(have, more []string) ([]string, error) {
	all := slices.Clone(have)
	for _, id := range more {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	if len(all) > clientsPerProvider {
		return nil, iamapi.LimitExceededException("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", clientsPerProvider)
	}
	return all, nil
}

// GetOpenIDConnectProvider describes a provider.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, in *iamapi.GetOpenIDConnectProviderInput) (*iamapi.GetOpenIDConnectProviderOutput, error) {
	p, err := s.readProvider(ctx, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetOpenIDConnectProviderOutput{
		Url: &p.URL, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: new(timeOf(p.Created)), Tags: p.Tags,
	}, nil
}

// ListOpenIDConnectProviders lists the account's providers by ARN.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, _ *iamapi.ListOpenIDConnectProvidersInput) (*iamapi.ListOpenIDConnectProvidersOutput, error) {
	out := &iamapi.ListOpenIDConnectProvidersOutput{}
	err := s.view(ctx, func(tx *store.Tx) error {
		all, err := s.providersOf(tx, accountOf(ctx))
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(a, b providerRow) int { return strings.Compare(a.URL, b.URL) })
		out.OpenIDConnectProviderList = make([]iamapi.OpenIDConnectProviderListEntry, len(all))
		for i := range all {
			out.OpenIDConnectProviderList[i].Arn = new(all[i].arn())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteOpenIDConnectProvider removes a provider; one that is not there is no
// error. Trust policies that name it stay, and sessions that it vouched for go
// on; nobody gets a new one.
//
// Errors: InvalidInput; NoSuchEntity for another account's.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, in *iamapi.DeleteOpenIDConnectProviderInput) (*schema.Nothing, error) {
	account, address, ok := providerOf(in.OpenIDConnectProviderArn)
	if !ok {
		return nil, invalidARN(in.OpenIDConnectProviderArn)
	}
	if account != accountOf(ctx) {
		return nil, noProvider(in.OpenIDConnectProviderArn)
	}
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		have, err := s.issuers.Exists(tx, account, address)
		if err != nil || !have {
			return err
		}
		return s.issuers.Delete(tx, account, address)
	})
}

// UpdateOpenIDConnectProviderThumbprint replaces the thumbprints of a provider.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, in *iamapi.UpdateOpenIDConnectProviderThumbprintInput) (*schema.Nothing, error) {
	prints, err := thumbprints(in.ThumbprintList)
	if err != nil {
		return nil, err
	}
	return nil, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *providerRow) error {
		p.Thumbprints = prints
		return nil
	})
}

// AddClientIDToOpenIDConnectProvider adds an audience; one that is there is no
// error.
//
// Errors: NoSuchEntity; InvalidInput; LimitExceeded.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, in *iamapi.AddClientIDToOpenIDConnectProviderInput) (*schema.Nothing, error) {
	return nil, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *providerRow) (err error) {
		p.ClientIDs, err = addClients(p.ClientIDs, []string{in.ClientID})
		return err
	})
}

// RemoveClientIDFromOpenIDConnectProvider removes an audience; one that is not
// there is no error.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, in *iamapi.RemoveClientIDFromOpenIDConnectProviderInput) (*schema.Nothing, error) {
	return nil, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *providerRow) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == in.ClientID })
		return nil
	})
}

// TagOpenIDConnectProvider adds tags to a provider, as TagUser does to a user.
//
// Errors: NoSuchEntity; InvalidInput; LimitExceeded.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, in *iamapi.TagOpenIDConnectProviderInput) (*schema.Nothing, error) {
	return nil, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *providerRow) (err error) {
		p.Tags, err = mergeTags(p.Tags, in.Tags)
		return err
	})
}

// UntagOpenIDConnectProvider removes tags of a provider.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, in *iamapi.UntagOpenIDConnectProviderInput) (*schema.Nothing, error) {
	return nil, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *providerRow) error {
		p.Tags = withoutTags(p.Tags, in.TagKeys)
		return nil
	})
}

// ListOpenIDConnectProviderTags lists a provider's tags by key.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, in *iamapi.ListOpenIDConnectProviderTagsInput) (*iamapi.ListOpenIDConnectProviderTagsOutput, error) {
	p, err := s.readProvider(ctx, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	tags, truncated, marker, err := s.pageTags(ctx, p.arn(), p.Tags, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListOpenIDConnectProviderTagsOutput{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}

// checkFederated checks a Federated principal of a trust policy. The ARN of an
// OpenID Connect provider need not exist, as the account may make it later; of
// other providers' names those count that AWS knows by itself.
//
// Errors: MalformedPolicyDocument.
func checkFederated(name string) error {
	if !strings.HasPrefix(name, "arn:") {
		if u, err := url.Parse("https://" + name); err != nil || u.Host != name || u.Port() != "" || !strings.Contains(name, ".") {
			return iamapi.MalformedPolicyDocumentException("Federated principals must be valid domain names or SAML metadata ARNs")
		}
		if !slices.Contains(knownProviders(), name) {
			return invalidFederated(name)
		}
		return nil
	}
	if _, _, ok := providerOf(name); !ok {
		return invalidFederated(name)
	}
	return nil
}

func invalidFederated(name string) error {
	return iamapi.MalformedPolicyDocumentException("Invalid principal in policy: %q:%q", "Federated", name)
}

// knownProviders are the identity providers that AWS trust policies name
// without an ARN.
// Source: IAM User Guide, "AWS JSON policy elements: Principal".
func knownProviders() []string {
	return []string{"accounts.google.com", "cognito-identity.amazonaws.com", "graph.facebook.com", "www.amazon.com"}
}
