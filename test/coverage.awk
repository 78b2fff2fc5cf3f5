# gcov -n's answer as one line a file of ours, the worst first, and the sum.

/^File '/ {
	file = $0
	sub(/^File '/, "", file)
	sub(/'$/, "", file)
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

END {
	for (file in lines) {
		printf "%6.2f%% of %5d  %s\n", best[file], lines[file],
		    file | "sort -n"
		all += lines[file]
		run += lines[file] * best[file] / 100
	}
	close("sort -n")
	printf "%6.2f%% of %5d  together\n", all ? 100 * run / all : 0, all
}
