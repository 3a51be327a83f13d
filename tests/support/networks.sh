#!/usr/bin/env bash
# Machines that are none: network namespaces of this one, each with an interface eth0 (10.91.0.1 and on) at one switch.
#   tests/support/networks.sh start PREFIX N      makes PREFIX-0 ... and PREFIX-switch
#   tests/support/networks.sh run PREFIX I COMMAND...   there, on a host called nodeI
#   tests/support/networks.sh login PREFIX [-x] [-o OPTION] 10.91.0.1 COMMAND...      what ssh is given
#   tests/support/networks.sh unplug PREFIX I
#   tests/support/networks.sh stop PREFIX N
# Needs the rights to make them.
set -euo pipefail
verb=$1
prefix=$2

case "$verb" in
  start)
    ip netns add "$prefix-switch"
    ip -n "$prefix-switch" link add switch type bridge
    ip -n "$prefix-switch" link set switch up
    for ((i = 0; i < $3; ++i)); do
      ip netns add "$prefix-$i"
      ip link add eth0 netns "$prefix-$i" type veth peer name "port$i" netns "$prefix-switch"
      ip -n "$prefix-switch" link set "port$i" master switch up
      ip -n "$prefix-$i" addr add "10.91.0.$((i + 1))/24" dev eth0
      ip -n "$prefix-$i" link set eth0 up
      ip -n "$prefix-$i" link set lo up
    done
    ;;
  run) exec ip netns exec "$prefix-$3" unshare --uts bash -c 'hostname "$0"; exec "$@"' "node$3" "${@:4}" ;;
  login)
    shift 2
    while [[ $1 == -* ]]; do [ "$1" != -o ] || shift; shift; done
    exec "$0" run "$prefix" $((${1##*.} - 1)) sh -c "${*:2}"
    ;;
  unplug) ip -n "$prefix-switch" link set "port$3" down ;;
  stop)
    for ((i = 0; i < $3; ++i)); do
      ip netns pids "$prefix-$i" | xargs -r kill -KILL || true
      ip netns del "$prefix-$i" || true
    done
    ip netns del "$prefix-switch" || true
    ;;
  *) echo "usage: networks.sh start|run|unplug|stop PREFIX ..." >&2; exit 64 ;;
esac
