package raster

import (
	"bufio"
	"context"
	"fmt"
	"image/color"
	"io"
	"math"
)

const maxColumns = 1000

// Terminal draws a band with at most cols characters a line, as half blocks in
// 24-bit ANSI colours: each character shows two pixels, one above the other.
// Missing pixels keep the terminal's background.
func Terminal(ctx context.Context, w io.Writer, im *Image, band, cols int, r Ramp) error {
	t, err := terminalThumbnail(ctx, im, band, cols, 1)
	if err != nil {
		return err
	}
	r = t.ramp(r)
	out := bufio.NewWriter(w)
	for y := 0; y < t.Height; y += 2 {
		for x := range t.Width {
			top := r.At(float64(t.Pix[y*t.Width+x]))
			var low color.NRGBA
			if y+1 < t.Height {
				low = r.At(float64(t.Pix[(y+1)*t.Width+x]))
			}
			switch {
			case top.A == 0 && low.A == 0:
				out.WriteString("\x1b[0m ")
			case low.A == 0:
				fmt.Fprintf(out, "\x1b[0;38;2;%d;%d;%dm▀", top.R, top.G, top.B)
			case top.A == 0:
				fmt.Fprintf(out, "\x1b[0;38;2;%d;%d;%dm▄", low.R, low.G, low.B)
			default:
				fmt.Fprintf(out, "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm▀", top.R, top.G, top.B, low.R, low.G, low.B)
			}
		}
		out.WriteString("\x1b[0m\n")
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("terminal picture: %w", err)
	}
	return nil
}

// TerminalASCII draws a band with at most cols plain characters a line, dark to
// bright between the 2nd and 98th percentile. Missing pixels are blanks.
func TerminalASCII(ctx context.Context, w io.Writer, im *Image, band, cols int) error {
	t, err := terminalThumbnail(ctx, im, band, cols, 2)
	if err != nil {
		return err
	}
	const shades = ".:-=+*#%@"
	lo, hi, _ := t.Percentiles(0.02, 0.98)
	out := bufio.NewWriter(w)
	for y := range t.Height {
		line := make([]byte, t.Width)
		for x := range line {
			v := float64(t.Pix[y*t.Width+x])
			switch f := (v - lo) / (hi - lo); {
			case v != v:
				line[x] = ' '
			case f > 0: // false for NaN: a flat picture
				line[x] = shades[min(len(shades)-1, int(f*float64(len(shades))))]
			default:
				line[x] = shades[0]
			}
		}
		out.Write(line)
		out.WriteByte('\n')
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("terminal picture: %w", err)
	}
	return nil
}

// terminalThumbnail reduces a band to cols columns; tall is how many times as
// high as wide a cell of the picture is.
func terminalThumbnail(ctx context.Context, im *Image, band, cols, tall int) (*Thumbnail, error) {
	if cols < 1 {
		return nil, fmt.Errorf("terminal picture of %d columns", cols)
	}
	w := min(cols, maxColumns, im.width)
	h := float64(w) * float64(im.height) / float64(im.width) / float64(tall)
	t, err := newThumbnail(ctx, im, band, w, int(max(1, min(math.Round(h), maxColumns))))
	if err != nil {
		return nil, fmt.Errorf("terminal picture: %w", err)
	}
	return t, nil
}
