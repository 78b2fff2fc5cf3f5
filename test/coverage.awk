# test/floors, then gcov's answer, as one line a file of ours, the worst first,
# and sums by floor.

# floor_is(2, "spool peer ...")
FILENAME != "-" {
	if (match($0, /floor_is\([0-9], *"[^"]*"/)) {
		part = substr($0, RSTART + 9, RLENGTH - 9)
		number = substr(part, 1, 1)
		gsub(/^[0-9], *"|"$/, "", part)
		n = split(part, names, " ")
		for (i = 1; i <= n; i++)
			floor[names[i]] = number
	}
	next
}

/^File '/ {
	file = $0
	sub(/^File '/, "", file)
	sub(/'$/, "", file)
	if (file ~ /\/test\//) # a test of that name
		file = ""
	sub(/.*\//, "", file)
}

# Each program has its own copy of a static inline; the best one counts.
/^Lines executed:/ && file ~ /\.c$/ && file !~ /^aliases_(parse|scan)/ {
	percent = $2
	sub(/executed:/, "", percent)
	sub(/%/, "", percent)
	if (!(file in lines) || percent > best[file]) {
		best[file] = percent + 0
		lines[file] = $4
	}
	file = ""
}

# spool_draft lives where spool does.
function floor_of(file,    name)
{
	name = file
	sub(/\.c$/, "", name)
	while (!(name in floor) && sub(/_[^_]*$/, "", name))
		continue
	return name in floor ? floor[name] : "?"
}

END {
	for (file in lines) {
		which = floor_of(file)
		if (which == "?")
			continue
		printf "%6.2f%% of %5d  floor %s  %s\n", best[file],
		    lines[file], which, file | "sort -n"
		all[which] += lines[file]
		run[which] += lines[file] * best[file] / 100
		if (which <= 3) {
			all["0-3"] += lines[file]
			run["0-3"] += lines[file] * best[file] / 100
		}
	}
	close("sort -n")
	for (which in all)
		printf "floor %-3s %6.2f%% of %5d\n", which,
		    100 * run[which] / all[which], all[which] | "sort"
}
