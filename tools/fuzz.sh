#!/bin/sh
# Runs every fuzz target of the module, one after the other: fuzz.sh TIME.
set -eu
go=${GO:-go}
time=${1:?usage: fuzz.sh TIME, for example 20s}
n=0
for pkg in $($go list ./...); do
	for target in $($go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "== $pkg $target"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
		n=$((n + 1))
	done
done
if [ "$n" -eq 0 ]; then
	echo "no fuzz target was found" >&2
	exit 1
fi
echo "$n fuzz targets ran for $time each"
