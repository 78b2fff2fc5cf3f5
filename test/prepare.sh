# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# Sourced by test/run and test/demo: find or install what they need.
# Takes $top, the source, and $notes, a directory for logs; gives $python.

: "${top:?}" "${notes:?}"
python=python3

# say WORDS: one line to the person watching.
say() {
	printf '%s\n' "$*"
}

give_up() {
	say "$*" >&2
	exit 1
}

# The system's package manager, one of those that test/packages knows.
package_manager() {
	for manager in apt-get dnf apk pacman pkg; do
		if command -v "$manager" >/dev/null 2>&1; then
			echo "$manager"
			return
		fi
	done
}

# packages_for MANAGER [test]: what test/packages lists.
packages_for() {
	sed -n "s/^$1${2:+ $2}: *//p" "$top/test/packages"
}

# as_root COMMAND...: directly, or by sudo where it asks no password or
# somebody is there to give one.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1 &&
	    { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		sudo "$@"
	else
		return 1
	fi
}

# install_packages MANAGER PACKAGE...
install_packages() {
	manager=$1
	shift
	case $manager in
	apt-get)
		as_root env DEBIAN_FRONTEND=noninteractive \
		    apt-get install -y -q --no-install-recommends "$@" ||
		    { as_root apt-get update -q &&
			as_root env DEBIAN_FRONTEND=noninteractive \
			    apt-get install -y -q --no-install-recommends \
			    "$@"; }
		;;
	dnf) as_root dnf install -y -q "$@" ;;
	apk) as_root apk add -q "$@" ;;
	pacman) as_root pacman -S --noconfirm --needed -q "$@" ;;
	pkg) as_root pkg install -y -q "$@" ;;
	esac
}

# have_headers FILE...: the compiler finds these.
have_headers() {
	for header; do
		echo "#include <$header>"
	done | ${CC:-cc} -E - >/dev/null 2>&1
}

can_build() {
	command -v make >/dev/null && command -v "${CC:-cc}" >/dev/null &&
	    command -v bison >/dev/null && command -v flex >/dev/null &&
	    command -v openssl >/dev/null && have_headers openssl/ssl.h &&
	    find_python ''
}

# find_python MODULE: a python3 that has it, into $python.
find_python() {
	for python in /usr/bin/python3 python3; do
		if "$python" -c "import sys, ${1:-ssl}
sys.exit(sys.version_info < (3, 9))" >/dev/null 2>&1; then
			return 0
		fi
	done
	return 1
}

# need WHAT: build needs must be there in the end; test needs may fail.
bring_build_needs() {
	can_build && return
	manager=$(package_manager)
	[ -n "$manager" ] || give_up "please install: a C compiler, make," \
	    "bison, flex, OpenSSL's headers, openssl and python3"
	packages=$(packages_for "$manager")
	say "installing: $packages"
	# shellcheck disable=SC2086 # a list
	install_packages "$manager" $packages >"$notes/packages.log" 2>&1 ||
	    give_up "please install: $manager install $packages"
	can_build || give_up "still missing after: $manager install $packages"
}

can_test() {
	find_python pytest && have_headers stdarg.h stddef.h setjmp.h \
	    stdint.h cmocka.h && command -v strace >/dev/null &&
	    command -v nm >/dev/null && command -v ip >/dev/null &&
	    command -v mandoc >/dev/null && command -v clang-format >/dev/null
}

bring_test_needs() {
	can_test && return
	manager=$(package_manager)
	[ -n "$manager" ] || give_up "please install: cmocka and pytest"
	packages=$(packages_for "$manager" test)
	say "installing for the tests: $packages"
	for package in $packages; do
		install_packages "$manager" "$package" \
		    >>"$notes/packages.log" 2>&1 || true
	done
	if ! find_python pytest || ! have_headers stdarg.h stddef.h \
	    setjmp.h stdint.h cmocka.h; then
		give_up "please install: $manager install" \
		    "$(packages_for "$manager" test)"
	fi
}
