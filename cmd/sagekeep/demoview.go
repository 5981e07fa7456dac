package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/raster"
)

// demoView prints the demo: with colours and a progress bar on a terminal, plain
// lines elsewhere.
type demoView struct {
	w        io.Writer
	tty      bool
	started  time.Time
	steps    int
	lastDone int
}

func newDemoView(w io.Writer) *demoView {
	v := &demoView{w: w, started: time.Now(), lastDone: -1}
	if f, ok := w.(*os.File); ok {
		if fi, err := f.Stat(); err == nil {
			v.tty = fi.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
		}
	}
	fmt.Fprintln(w, "Sagekeep demo: an Earth observation job on a real Sentinel-2 scene, under a key that the customer owns.")
	fmt.Fprintln(w, "Contains modified Copernicus Sentinel data 2017.")
	return v
}

func (v *demoView) step(title string) {
	v.steps++
	if v.tty {
		fmt.Fprintf(v.w, "\n\x1b[1m%d. %s\x1b[0m\n", v.steps, title)
		return
	}
	fmt.Fprintf(v.w, "\n%d. %s\n", v.steps, title)
}

func (v *demoView) line(format string, args ...any) { fmt.Fprintf(v.w, "   "+format+"\n", args...) }

// progress draws the bar, on a terminal in place.
func (v *demoView) progress(done, total int) {
	if total <= 0 || done == v.lastDone {
		return
	}
	v.lastDone = done
	const width = 40
	n := done * width / total
	bar := strings.Repeat("#", n) + strings.Repeat(".", width-n)
	if v.tty {
		fmt.Fprintf(v.w, "\r   [%s] %d of %d blocks", bar, done, total)
		return
	}
	fmt.Fprintf(v.w, "   [%s] %d of %d blocks\n", bar, done, total)
}

func (v *demoView) endProgress() {
	v.lastDone = -1
	if v.tty {
		fmt.Fprintln(v.w)
	}
}

// picture draws the band's outline in the terminal.
func (v *demoView) picture(ctx context.Context, im *raster.Image) error {
	const columns = 72
	if v.tty {
		return raster.Terminal(ctx, v.w, im, 0, columns, raster.VegetationRamp())
	}
	return raster.TerminalASCII(ctx, v.w, im, 0, columns)
}

// event prints one audit record.
func (v *demoView) event(r *audit.Record) {
	who := r.UserIdentity.ARN
	if who == "" {
		who = r.UserIdentity.InvokedBy
	}
	result := "ok"
	if r.ErrorCode != "" {
		result = r.ErrorCode + ": " + r.ErrorMessage
	}
	v.line("audit %s  %-32s %s  %s", r.EventTime, r.EventName, who, result)
}

// refused prints a denial; that it succeeded instead is an error.
func (v *demoView) refused(what string, err error) error {
	c, message := code(err)
	if err == nil {
		return fmt.Errorf("%s was allowed", what)
	}
	if c == "" {
		return err
	}
	v.line("%s:", what)
	v.line("  refused with %s: %s", c, message)
	return nil
}

// finish says how to go on.
func (v *demoView) finish(d *demo, keep bool) {
	fmt.Fprintf(v.w, "\nDone in %.1f s. ", time.Since(v.started).Seconds())
	dir := "./data"
	if keep {
		dir = d.data
		fmt.Fprintf(v.w, "The server goes on at %s; Ctrl-C ends it.\n", d.root.Endpoint)
	} else {
		fmt.Fprintf(v.w, "The server is stopped. To go on with a server of your own:\n")
		fmt.Fprintf(v.w, "  sagekeep serve --data-dir %s &\n", dir)
	}
	fmt.Fprintf(v.w, "  eval \"$(sagekeep env --data-dir %s)\"\n", dir)
	fmt.Fprintf(v.w, "  aws kms list-keys\n  aws cloudtrail lookup-events --max-results 5\n")
	fmt.Fprintf(v.w, "  aws sagemaker-geospatial list-earth-observation-jobs\n")
}
