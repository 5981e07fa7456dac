package wire

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
)

func TestAuditView(t *testing.T) {
	t.Parallel()
	at := time.Date(2022, 8, 10, 22, 38, 27, 5e8, time.UTC)
	v := full()
	v.At = &at
	const want = `{"name":"a name","note":"quote \" slash \\ <b>&` + "\u2028" + `\u0001é🚲","level":"HIGH","flag":true,"count":7,` +
		`"big":-4611686018427387904,"ratio":1.5e-09,"at":"Aug 10, 2022, 10:38:27 PM","when":"Jan 2, 2026, 3:04:05 AM","names":["a","b"],` +
		`"levels":["LOW"],"tags":[{"tagKey":"k"},{"tagKey":"l"}],"context":{"a":"1","b":"2"},"points":{"p":{"x":1,"y":0.10000000149011612}},` +
		`"rings":[[1,2],[3,4.25]],"choice":{"text":"t"},"self":{"name":"inner"}}`
	got := AppendAuditJSON(nil, everythingShape(), v)
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	slow, err := json.Marshal(AuditView(everythingShape(), v))
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(slow, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the two forms differ:\n%s\n%s", slow, got)
	}
}

func TestAuditLeavesOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		shape *schema.Shape
		v     any
		want  string
	}{
		{"plaintext and ciphertext", kms.Encrypt.Input, &kms.EncryptInput{
			KeyId: "alias/a", Plaintext: []byte("secret"),
			EncryptionContext: map[string]string{"Purpose": "x"}, GrantTokens: []string{},
		}, `{"keyId":"alias/a","encryptionContext":{"Purpose":"x"}}`},
		{
			"account id", kms.DescribeKey.Output, &kms.DescribeKeyOutput{KeyMetadata: &kms.KeyMetadata{KeyId: "k", AWSAccountId: new("111122223333")}},
			`{"keyMetadata":{"aWSAccountId":"111122223333","keyId":"k"}}`,
		},
		{
			"empty texts, but for those that are sent empty", kms.CreateKey.Input, &kms.CreateKeyInput{Description: new(""), Tags: []kms.Tag{{TagKey: "flag"}}},
			`{"tags":[{"tagKey":"flag","tagValue":""}]}`,
		},
		{"everything", kms.GenerateRandom.Output, &kms.GenerateRandomOutput{Plaintext: []byte("secret")}, `null`},
		{"no value", kms.GenerateRandom.Output, nil, `null`},
		{"no shape", nil, &schema.Nothing{}, `null`},
	} {
		if got := string(AppendAuditJSON(nil, c.shape, c.v)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
