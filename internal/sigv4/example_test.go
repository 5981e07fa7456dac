package sigv4_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sagekeep/sagekeep/internal/sigv4"
)

func ExampleVerifier_Verify() {
	cred := sigv4.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Owner: "alice"}
	verifier := &sigv4.Verifier{
		Lookup: func(_ context.Context, id, _ string) (*sigv4.Credential, error) {
			if id != cred.AccessKeyID {
				return nil, sigv4.ErrUnknownKey
			}
			return &cred, nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth, err := sigv4.Inspect(r)
		if err != nil {
			fmt.Fprintln(w, sigv4.KindOf(err))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			fmt.Fprintln(w, err)
			return
		}
		if err := verifier.Verify(r.Context(), r, auth, sigv4.Options{Service: "kms", Body: body}); err != nil {
			fmt.Fprintln(w, sigv4.KindOf(err))
			return
		}
		fmt.Fprintf(w, "%s calls %s in %s\n", auth.Credential.Owner, auth.Scope.Service, auth.Scope.Region)
	}))
	defer server.Close()

	call := func(body []byte) {
		r, err := http.NewRequest(http.MethodPost, server.URL, bytes.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := sigv4.Sign(r, []byte(`{"KeyId":"alias/a"}`), cred, "us-west-2", "kms", time.Now()); err != nil {
			fmt.Println(err)
			return
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		fmt.Print(string(text))
		if err != nil {
			fmt.Println(err)
		}
	}
	call([]byte(`{"KeyId":"alias/a"}`))
	call([]byte(`{"KeyId":"alias/b"}`))
	// Output:
	// alice calls kms in us-west-2
	// BadSignature
}
