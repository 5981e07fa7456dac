package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

func keyCommand() *command {
	where := func(f *flag.FlagSet) {
		f.String("data-dir", "", "`DIR` of the server")
		f.String("account", "", "account `ID` of a KEY that is no ARN; the first account when empty")
		f.String("region", server.DefaultRegion, "`REGION` of a KEY that is no ARN")
	}
	offline := func(f *flag.FlagSet) { f.String("seal", "", "who holds the root key, when no server runs") }
	change := func(f *flag.FlagSet) {
		where(f)
		f.Bool("yes", false, "do not ask")
	}
	return &command{name: "key", short: "Show what depends on a KMS key, disable it or schedule its deletion", subs: []*command{
		{
			name: "impact", args: "KEY", short: "Show what is encrypted under a key and who uses it",
			example: "sagekeep key impact --data-dir ./data alias/reports\n" +
				"sagekeep key impact --data-dir ./data arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab --json",
			minArgs: 1, maxArgs: 1,
			flags: func(f *flag.FlagSet) {
				where(f)
				offline(f)
				f.Int("days", server.DefaultImpactDays, "count the users of the last `N` days")
				f.Bool("json", false, "as JSON")
			},
			run: keyImpact,
		},
		{
			name: "list", short: "List the keys of an account with their last use",
			example: "sagekeep key list --data-dir ./data\nsagekeep key list --data-dir ./data --account 444455556666 --region eu-central-1 --json",
			flags: func(f *flag.FlagSet) {
				f.String("data-dir", "", "`DIR` of the server")
				f.String("account", "", "`ID` of the account whose keys are listed; the first account when empty")
				f.String("region", server.DefaultRegion, "`REGION` whose keys are listed")
				offline(f)
				f.Bool("json", false, "one JSON object a key")
			},
			run: keyList,
		},
		{
			name: "disable", args: "KEY", short: "Show what depends on a key, ask, and call DisableKey",
			example: "sagekeep key disable --data-dir ./data alias/reports",
			minArgs: 1, maxArgs: 1, flags: change, run: keyDisable,
		},
		{
			name: "schedule-deletion", args: "KEY", short: "Show what depends on a key, ask, and call ScheduleKeyDeletion",
			example: "sagekeep key schedule-deletion --data-dir ./data alias/reports --days 30",
			minArgs: 1, maxArgs: 1,
			flags: func(f *flag.FlagSet) {
				change(f)
				f.Int("days", 30, "the key's material is destroyed after `N` days, 7 to 30")
			},
			run: keyScheduleDeletion,
		},
	}}
}

func keyImpact(ctx context.Context, f *flag.FlagSet, std stdio) error {
	in, err := impactInput(f)
	if err != nil {
		return err
	}
	if in.Days = intValue(f, "days"); in.Days < 1 {
		return usagef("--days is a positive number")
	}
	progress, done := showProgress(std.err)
	var out *server.Impact
	c, err := operator(value(f, "data-dir"))
	switch {
	case err == nil:
		out, err = impactBeside(ctx, c, in, progress)
	case errors.Is(err, fs.ErrNotExist):
		cfg := server.Config{DataDir: value(f, "data-dir"), Seal: value(f, "seal")}
		out, err = server.KeyImpact(ctx, cfg, in, progress)
		err = explain(err, cfg)
	}
	done()
	if err != nil {
		return err
	}
	if boolValue(f, "json") {
		return printJSON(std.out, out)
	}
	return printImpact(std.out, out)
}

func impactInput(f *flag.FlagSet) (server.ImpactInput, error) {
	if value(f, "data-dir") == "" {
		return server.ImpactInput{}, usagef("--data-dir is missing")
	}
	return server.ImpactInput{Key: f.Arg(0), Account: value(f, "account"), Region: value(f, "region")}, checkAccount(f)
}

// checkAccount refuses what cannot be the id of an account.
func checkAccount(f *flag.FlagSet) error {
	if id := value(f, "account"); id != "" && !server.IsAccountID(id) {
		return usagef("--account: %q is not a 12-digit account id", id)
	}
	return nil
}

// impactBeside asks the running server.
func impactBeside(ctx context.Context, c *client.Client, in server.ImpactInput, progress func(*server.Impact)) (*server.Impact, error) {
	return server.WholeImpact(ctx, in, func(ctx context.Context, in server.ImpactInput) (*server.Impact, error) {
		var part server.Impact
		err := c.Operator(ctx, "KeyImpact", in, &part)
		return &part, err
	}, progress)
}

// showProgress tells a terminal how far a search is; done clears the line.
func showProgress(w io.Writer) (progress func(*server.Impact), done func()) {
	if !isTerminal(w) {
		return nil, func() {}
	}
	const clearLine = "\r\x1b[K"
	return func(i *server.Impact) {
		fmt.Fprintf(w, clearLine+"%s and %s read", counted(i.ObjectsRead, "object"), counted(i.RecordsRead, "record"))
	}, func() { fmt.Fprint(w, clearLine) }
}

// isTerminal reports whether v is a terminal: something that a person sits at, not
// just any device.
func isTerminal(v any) bool {
	file, ok := v.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// keyRowFormat has the columns of key list.
const keyRowFormat = "%-40s %-22s %-22s %-20s %s\n"

func keyList(ctx context.Context, f *flag.FlagSet, std stdio) error {
	dir := value(f, "data-dir")
	if dir == "" {
		return usagef("--data-dir is missing")
	}
	if err := checkAccount(f); err != nil {
		return err
	}
	in := server.KeyListInput{Account: value(f, "account"), Region: value(f, "region")}
	asJSON := boolValue(f, "json")
	headed := asJSON
	list := func(page server.KeyListOutput) error {
		if !headed { // not before there is an answer
			if _, err := fmt.Fprintf(std.out, keyRowFormat, "KEY", "STATE", "SPEC", "LAST USED", "ALIASES"); err != nil {
				return err
			}
			headed = true
		}
		for i := range page.Keys {
			if asJSON {
				if err := printJSONLine(std.out, &page.Keys[i]); err != nil {
					return err
				}
				continue
			}
			k := &page.Keys[i]
			used := "never"
			if k.LastUsage != nil {
				used = stamp(k.LastUsage.Time)
			}
			_, id, _ := strings.Cut(k.ARN, ":key/")
			if _, err := fmt.Fprintf(std.out, keyRowFormat, id, k.State, k.Spec, used, strings.Join(k.Aliases, ", ")); err != nil {
				return err
			}
		}
		return nil
	}
	c, err := operator(dir)
	switch {
	case err == nil:
		err = server.EachKeyPage(ctx, in, func(ctx context.Context, in server.KeyListInput) (out server.KeyListOutput, err error) {
			err = c.Operator(ctx, "ListKeys", in, &out)
			return out, err
		}, list)
	case errors.Is(err, fs.ErrNotExist):
		cfg := server.Config{DataDir: dir, Seal: value(f, "seal")}
		err = explain(server.ListKeys(ctx, cfg, in, list), cfg)
	}
	return err
}

func keyDisable(ctx context.Context, f *flag.FlagSet, std stdio) error {
	return changeKey(ctx, f, std, "Disable the key: nothing opens what is encrypted under it until it is enabled again?", func(c *client.Client, arn string) error {
		if _, err := client.Call(ctx, c, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: arn}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(std.out, "%s is disabled; EnableKey makes it usable again\n", arn)
		return err
	})
}

func keyScheduleDeletion(ctx context.Context, f *flag.FlagSet, std stdio) error {
	days := intValue(f, "days")
	if days < 7 || days > 30 {
		return usagef("--days is a number from 7 to 30")
	}
	question := fmt.Sprintf("Schedule the deletion of the key: it is unusable from now on, and after %d days what is encrypted under it is lost for good?", days)
	return changeKey(ctx, f, std, question, func(c *client.Client, arn string) error {
		out, err := client.Call(ctx, c, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: arn, PendingWindowInDays: new(int32(days))})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.out, "%s is pending deletion until %s; CancelKeyDeletion keeps it\n", arn, stamp(*out.DeletionDate))
		return err
	})
}

// changeKey shows what depends on a key, asks, and makes an ordinary call of the
// AWS API as the root of the key's account: whatever its policy says of that call
// holds here, too.
func changeKey(ctx context.Context, f *flag.FlagSet, std stdio, question string, call func(c *client.Client, arn string) error) error {
	in, err := impactInput(f)
	if err != nil {
		return err
	}
	dir := value(f, "data-dir")
	c, err := operator(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no server runs on %s, and this is a call of the AWS API, which needs one: start `sagekeep serve --data-dir %s`, with the --seal that it has if any, and try again", dir, quoted(dir))
	}
	if err != nil {
		return err
	}
	if !boolValue(f, "yes") && !isTerminal(std.in) {
		return usagef("there is no terminal to ask on; --yes says that nobody is asked")
	}
	progress, done := showProgress(std.err)
	impact, err := impactBeside(ctx, c, in, progress)
	done()
	if err != nil {
		return err
	}
	if err := printImpact(std.out, impact); err != nil {
		return err
	}
	if !boolValue(f, "yes") {
		if err := confirm(std, question); err != nil {
			return err
		}
	}
	p := strings.SplitN(impact.Key.ARN, ":", 6)
	if len(p) != 6 {
		return fmt.Errorf("%q is no ARN", impact.Key.ARN)
	}
	creds, err := server.ReadCredentials(dir)
	if err != nil {
		return err
	}
	key, err := accountKey(creds, p[4])
	if err != nil {
		return err
	}
	as := c.As(sigv4.Credential{AccessKeyID: key.AccessKeyID, Secret: key.SecretAccessKey})
	as.Region = p[3]
	return call(as, impact.Key.ARN)
}

// confirm asks on the terminal; everything but yes is a no.
func confirm(std stdio, question string) error {
	fmt.Fprintf(std.out, "\n%s [yes/NO] ", question)
	answer, err := bufio.NewReader(std.in).ReadString('\n')
	if err == nil && strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return nil
	}
	return errors.New("nothing was changed")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
