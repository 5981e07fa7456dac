package geospatial

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// export copies a job's results and waits for the end.
func (w *world) export(in *geoapi.ExportEarthObservationJobInput) *geoapi.GetEarthObservationJobOutput {
	w.t.Helper()
	out, err := protocol.Call(w.root(), w.reg, geoapi.ExportEarthObservationJob, in)
	if err != nil {
		w.t.Fatalf("ExportEarthObservationJob: %v", err)
	}
	if out.ExportStatus != geoapi.EarthObservationJobExportStatusInProgress {
		w.t.Errorf("ExportStatus %s, want IN_PROGRESS", out.ExportStatus)
	}
	var got *geoapi.GetEarthObservationJobOutput
	w.eventually("the export ends", func() bool {
		got = w.get(in.Arn)
		return got.ExportStatus != geoapi.EarthObservationJobExportStatusInProgress
	})
	return got
}

func exportTo(arn, uri string) *geoapi.ExportEarthObservationJobInput {
	return &geoapi.ExportEarthObservationJobInput{
		Arn: arn, ExecutionRoleArn: roleARN, OutputConfig: &geoapi.OutputConfigInput{S3Data: &geoapi.ExportS3DataInput{S3Uri: uri}},
	}
}

// TestRecords compares the records that a job under a customer managed key
// leaves with those in AWS's documentation, field by field. "*" stands for what
// differs from call to call.
func TestRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	w.start()
	key := w.key(keyActions()...)
	arn := w.startJob(ndvi(w.small(), key))
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	if n := len(w.records("Decrypt")); n != 0 {
		t.Errorf("%d Decrypt records of a job that has read nothing yet", n)
	}
	if got := w.export(exportTo(arn, "s3://results/here")); got.ExportStatus != geoapi.EarthObservationJobExportStatusSucceeded {
		t.Fatalf("export: %+v", got.ExportErrorDetails)
	}
	b, err := os.ReadFile("testdata/records.json")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := parseARN(arn)
	text := strings.NewReplacer(`"KEY"`, `"`+key+`"`, "/JOB/", "/"+r.ID+"/").Replace(string(b))
	var want map[string]map[string]any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	for name, fields := range want {
		got := w.records(name)
		if len(got) != 1 {
			t.Errorf("%d records of %s, want 1", len(got), name)
			continue
		}
		delete(got[0], "additionalEventData") // keyMaterialId: newer than the examples
		if diff := compare("", fields, map[string]any(got[0])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	start := w.records("StartEarthObservationJob")[0]
	if start["responseElements"] == nil || start["errorCode"] != nil {
		t.Errorf("record of the start: %v", start)
	}
}

// compare returns the first difference, "" when got is want.
func compare(path string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", path, got)
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				return fmt.Sprintf("%s.%s is too much: %v", path, k, g[k])
			}
		}
		for k := range w {
			if d := compare(path+"."+k, w[k], g[k]); d != "" {
				return d
			}
		}
		return ""
	case string:
		if g, ok := got.(string); ok && strings.HasPrefix(w, "*") && g != "" && strings.HasSuffix(g, w[1:]) {
			return ""
		}
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("%s is %v, want %v", path, got, want)
	}
	return ""
}

// TestRefusedStart: a start that lacks one permission names it, and leaves no
// grant and no job.
func TestRefusedStart(t *testing.T) {
	t.Parallel()
	for _, lacks := range keyActions() {
		t.Run(lacks, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 0)
			key := w.key(slices.DeleteFunc(keyActions(), func(a string) bool { return a == lacks })...)
			_, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, ndvi(w.small(), key))
			wantCode(t, err, "AccessDeniedException", lacks+" on")
			w.nothingStarted(key)
		})
	}
}

func (w *world) nothingStarted(key string) {
	w.t.Helper()
	grants, err := protocol.Call(w.root(), w.reg, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: key})
	if err != nil || len(grants.Grants) != 0 {
		w.t.Errorf("grants after a refused start: %v, %v", grants, err)
	}
	list, err := w.geo.ListEarthObservationJobs(w.root(), &geoapi.ListEarthObservationJobsInput{})
	if err != nil || len(list.EarthObservationJobSummaries) != 0 {
		w.t.Errorf("jobs after a refused start: %v, %v", list, err)
	}
	if n := len(w.records("StartEarthObservationJob")); n != 1 {
		w.t.Errorf("%d records of a refused start, want 1", n)
	}
}

// TestGrantConditions: a key policy that ties CreateGrant to this use is met.
func TestGrantConditions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	policy := strings.Replace(keyPolicy("kms:GenerateDataKey", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext"), `"Statement":[`,
		`"Statement":[{"Effect":"Allow","Principal":{"AWS":"`+roleARN+`"},"Action":"kms:CreateGrant","Resource":"*","Condition":{
		"Bool":{"kms:GrantIsForAWSResource":"true"},"StringEquals":{"kms:GranteePrincipal":"sagemaker-geospatial.us-west-2.amazonaws.com"},
		"ForAllValues:StringEquals":{"kms:GrantOperations":["Decrypt","GenerateDataKey"]}}},`, 1)
	out, err := protocol.Call(w.root(), w.reg, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	w.startJob(ndvi(w.small(), *out.KeyMetadata.Arn))
}

func TestStartRefusesKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	collection := w.small()
	disabled := w.key(keyActions()...)
	if _, err := protocol.Call(w.root(), w.reg, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: disabled}); err != nil {
		t.Fatal(err)
	}
	mac, err := protocol.Call(w.root(), w.reg, kmsapi.CreateKey, &kmsapi.CreateKeyInput{
		Policy: new(keyPolicy(keyActions()...)), KeySpec: kmsapi.KeySpecHmac256, KeyUsage: kmsapi.KeyUsageTypeGenerateVerifyMac,
	})
	if err != nil {
		t.Fatal(err)
	}
	hmac := *mac.KeyMetadata.Arn
	for _, tc := range []struct{ name, key, code, text string }{
		{"disabled", disabled, "ValidationException", "Disabled"},
		{"HMAC", hmac, "ValidationException", "symmetric"},
		{"unknown alias", "alias/nobody", "ValidationException", "alias/nobody"},
		{"unknown id", "1234abcd-12ab-34cd-56ef-1234567890ab", "ValidationException", "does not exist"},
		{"another account", "arn:aws:kms:us-west-2:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab", "ValidationException", "account"},
		{"another region", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "ValidationException", "us-east-1"},
		{"nonsense", "%", "ValidationException", "%"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, ndvi(collection, tc.key))
			wantCode(t, err, tc.code, tc.text)
		})
	}
	in := ndvi(collection, "")
	in.KmsKeyId = new("")
	w.startJob(in) // as AWS's notebooks do
}

// TestKeyForms: a key may be named by id and by alias.
func TestKeyForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	collection, key := w.small(), w.key(keyActions()...)
	_, id, _ := strings.Cut(key, "/")
	if _, err := protocol.Call(w.root(), w.reg, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/geo", TargetKeyId: id}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{id, "alias/geo", "arn:aws:kms:us-west-2:111122223333:alias/geo"} {
		if got := w.get(w.startJob(ndvi(collection, form))); *got.KmsKeyId != form {
			t.Errorf("KmsKeyId %q, want %q", *got.KmsKeyId, form)
		}
	}
	for _, r := range w.records("CreateGrant") {
		if got := r["requestParameters"].(map[string]any)["keyId"]; got != key {
			t.Errorf("CreateGrant names %v, want the key's ARN", got)
		}
	}
}

func TestStartRefusesRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.role("Stranger", "ec2.amazonaws.com")
	in := ndvi(w.small(), "")
	for _, role := range []string{"arn:aws:iam::111122223333:role/Nobody", "arn:aws:iam::111122223333:role/Stranger"} {
		in.ExecutionRoleArn = role
		_, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, in)
		wantCode(t, err, "ValidationException", "cannot be assumed")
	}
	in.ExecutionRoleArn = "arn:aws:iam::444455556666:role/Foreign"
	_, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, in)
	wantCode(t, err, "AccessDeniedException", "iam:PassRole")
}

// TestTakenAway: a running job notices at the next block what was taken from it.
func TestTakenAway(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		take func(w *world, arn, key string)
		text string
	}{
		"grant revoked": {func(w *world, arn, key string) { w.revoke(arn, key) }, "revoked"},
		"key disabled": {func(w *world, _, key string) {
			if _, err := protocol.Call(w.root(), w.reg, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: key}); err != nil {
				w.t.Error(err)
			}
		}, "disabled"},
		"deletion scheduled": {func(w *world, _, key string) {
			if _, err := protocol.Call(w.root(), w.reg, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: key}); err != nil {
				w.t.Error(err)
			}
		}, "pending deletion"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 512)
			key := w.key(keyActions()...)
			reached, release := make(chan struct{}, 16), make(chan struct{})
			w.geo.blockDone = func(task) { reached <- struct{}{}; <-release }
			w.start()
			arn := w.startJob(ndvi(w.small(), key))
			<-reached
			tc.take(w, arn, key)
			close(release)
			got := w.wait(arn, geoapi.EarthObservationJobStatusFailed)
			if d := got.ErrorDetails; d.Type != geoapi.EarthObservationJobErrorTypeClientError || !strings.Contains(*d.Message, tc.text) || !strings.Contains(*d.Message, key) {
				t.Errorf("ErrorDetails %s %q, want CLIENT_ERROR with %q and the key", d.Type, *d.Message, tc.text)
			}
			w.eventually("what was made is removed", func() bool { return w.segments() == 2 })
		})
	}
}

// TestGrantsAreApart: one job's grant does not open another job's results under
// the same key.
func TestGrantsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	collection, key := w.small(), w.key(keyActions()...)
	a, b := w.startJob(ndvi(collection, key)), w.startJob(ndvi(collection, key))
	w.wait(a, geoapi.EarthObservationJobStatusCompleted)
	w.wait(b, geoapi.EarthObservationJobStatusCompleted)
	w.revoke(a, key)
	if got := w.export(exportTo(a, "s3://results")); got.ExportStatus != geoapi.EarthObservationJobExportStatusFailed ||
		got.ExportErrorDetails.ExportResults.Type != geoapi.ExportErrorTypeClientError {
		t.Errorf("export of the job without a grant: %s", got.ExportStatus)
	}
	if got := w.export(exportTo(b, "s3://results")); got.ExportStatus != geoapi.EarthObservationJobExportStatusSucceeded {
		t.Errorf("export of the other job: %s", got.ExportStatus)
	}
}

// TestDeleteRetiresGrant: the grant is gone when the deletion is answered.
func TestDeleteRetiresGrant(t *testing.T) {
	t.Parallel()
	for _, revoked := range []bool{false, true} {
		t.Run(fmt.Sprint("revoked before: ", revoked), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 0)
			w.start()
			key := w.key(keyActions()...)
			arn := w.startJob(ndvi(w.small(), key))
			w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
			if revoked {
				w.revoke(arn, key)
			}
			if _, err := protocol.Call(w.root(), w.reg, geoapi.DeleteEarthObservationJob, &geoapi.DeleteEarthObservationJobInput{Arn: arn}); err != nil {
				t.Fatal(err)
			}
			grants, err := protocol.Call(w.root(), w.reg, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: key})
			if err != nil || len(grants.Grants) != 0 {
				t.Errorf("grants after the deletion: %v, %v", grants, err)
			}
			r := w.records("RetireGrant")[0]
			if id := r["userIdentity"].(map[string]any); id["type"] != "AWSService" || (r["errorCode"] != nil) != revoked {
				t.Errorf("record of RetireGrant: %v", r)
			}
			w.gone(arn)
		})
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	arn := w.startJob(ndvi(w.small(), ""))
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	if got := w.get(arn); got.ExportStatus != "" || got.ExportErrorDetails != nil {
		t.Errorf("ExportStatus %q before the first export", got.ExportStatus)
	}
	in := exportTo(arn, "s3://results/here")
	in.ExportSourceImages = new(true)
	in.OutputConfig.S3Data.KmsKeyId = new("alias/export")
	in.ClientToken = new(strings.Repeat("token", 8))
	if got := w.export(in); got.ExportStatus != geoapi.EarthObservationJobExportStatusSucceeded {
		t.Fatalf("export: %s %+v", got.ExportStatus, got.ExportErrorDetails)
	}
	r, _ := parseARN(arn)
	base := "s3://results/here/" + r.ID + "/"
	folder := "consolidated/33UUU/2017-02-16T10:21:01Z/S2A_33UUU_20170216_0_L2A_"
	for _, name := range []string{"output/" + folder + "ndvi.tif", "input/" + folder + "nir.tif", "input/" + folder + "red.tif"} {
		if w.s3.objects[base+name] == 0 {
			t.Errorf("%s was not written; there are %v", base+name, w.s3.objects)
		}
	}
	for i, put := range w.s3.inputs {
		if put.ServerSideEncryption != s3api.ServerSideEncryptionAwsKms || *put.SSEKMSKeyId != "alias/export" || *put.ContentLength == 0 {
			t.Errorf("object %s: %s, %v", put.Key, put.ServerSideEncryption, put.SSEKMSKeyId)
		}
		c := w.s3.callers[i].Caller
		if c.RoleARN != roleARN || c.SessionName != "SageMaker-Geospatial-ExportEOJ" || c.InvokedBy != Principal {
			t.Errorf("caller %+v", c)
		}
	}
	// The same token again is the same export, even after its end.
	n := len(w.s3.inputs)
	out, err := protocol.Call(w.root(), w.reg, geoapi.ExportEarthObservationJob, in)
	if err != nil || out.ExportStatus != geoapi.EarthObservationJobExportStatusSucceeded || len(w.s3.inputs) != n {
		t.Errorf("repeated export: %v, %v", out, err)
	}
}

func TestExportRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	arn := w.startJob(ndvi(w.small(), ""))
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	_, err := w.geo.ExportEarthObservationJob(w.root(), exportTo(arn, "https://results"))
	wantCode(t, err, "ValidationException", "s3://")
	w.s3.err = schema.NewError("AccessDenied", 403, "no")
	got := w.export(exportTo(arn, "s3://results"))
	if got.ExportStatus != geoapi.EarthObservationJobExportStatusFailed || !strings.Contains(*got.ExportErrorDetails.ExportResults.Message, "s3:PutObject") ||
		got.ExportErrorDetails.ExportSourceImages != nil || got.Status != geoapi.EarthObservationJobStatusCompleted {
		t.Errorf("export: %+v", got)
	}
	// A failure of the server is tried again until it is cured.
	w.s3.mu.Lock()
	w.s3.err = errors.New("for a moment")
	w.s3.mu.Unlock()
	if _, err := w.geo.ExportEarthObservationJob(w.root(), exportTo(arn, "s3://results")); err != nil {
		t.Fatal(err)
	}
	w.s3.mu.Lock()
	w.s3.err = nil
	w.s3.mu.Unlock()
	w.eventually("the export succeeds", func() bool { return w.get(arn).ExportStatus == geoapi.EarthObservationJobExportStatusSucceeded })
}

// TestSweep removes what a killed process left, and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	arn := w.startJob(ndvi(w.small(), ""))
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	b, err := w.blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("left behind")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	for want := range 2 {
		n, err := w.geo.Sweep(t.Context(), -1)
		if err != nil || n != 1-want {
			t.Errorf("swept %d, %v; want %d", n, err, 1-want)
		}
	}
	w.output(arn, "ndvi")
	err = w.store.View(t.Context(), func(tx *store.Tx) error {
		owns, err := w.geo.OwnsSegment(tx, b.ID())
		if owns {
			t.Error("an orphan is owned")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
