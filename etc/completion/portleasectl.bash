# SPDX-License-Identifier: ISC
# Completion of portleasectl(1) for bash. tests/ctl compares its words with `portleasectl --help`.

# The forwards that the daemon knows; nothing, at once, where there is none.
_portleasectl_forwards()
{
	portleasectl "${socket[@]}" status 2>/dev/null | awk 'on && NF > 1 && $1 !~ /^_|:$/ { print $1 } $1 == "FORWARD" { on = 1 }' | sort -u
}

_portleasectl()
{
	local commands='status monitor wait renew reload hold metrics external-address map unmap probe'
	local direct='--gateway --interface --mappers --timeout --json'
	local options='-c --control --json --version --help'
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' words='' socket=() i

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c | --control)
			socket=(-c "${COMP_WORDS[i + 1]}")
			((i++))
			;;
		--) # a program of the caller's, and its arguments
			[ "$command" = hold ] || return
			COMPREPLY=($(compgen -c -- "$cur") $(compgen -f -- "$cur"))
			return
			;;
		-*) ;;
		*) [ -n "$command" ] || command=${COMP_WORDS[i]} ;;
		esac
	done
	case $prev in
	-c | --control)
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	--protocol)
		words='tcp udp'
		[ "$command" != hold ] || words="$words both"
		;;
	--family) words='ipv4 ipv6 both' ;;
	--external-port) words='same any' ;;
	--external-policy) words='prefer require' ;;
	--mappers) words='pcp nat-pmp upnp' ;;
	--interface) words=$(ls /sys/class/net 2>/dev/null) ;;
	--timeout | --internal-port | --gateway | --lifetime | --description) return ;;
	*)
		case $command in
		'') words="$commands $options" ;;
		status) words="--watch --json $(_portleasectl_forwards)" ;;
		monitor | renew) words="--json $(_portleasectl_forwards)" ;;
		wait) words="--timeout $(_portleasectl_forwards)" ;;
		reload | metrics) words='--json' ;;
		external-address | probe) words=$direct ;;
		map) words="$direct --protocol --external-port --lifetime" ;;
		unmap) words="$direct --protocol" ;;
		hold)
			words="-- --timeout --protocol --family --internal-port --external-port
				--external-policy --gateway --lifetime --description
				$(_portleasectl_forwards)"
			;;
		esac
		;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _portleasectl portleasectl
