#!/usr/bin/env bash
# A SLURM of its own on the loopback of this machine, for tests.
#   tests/support/slurm.sh start FOLDER   prints the lines to export: SLURM_CONF
#   tests/support/slurm.sh stop FOLDER
# Everything it writes is in FOLDER, whose path is to be short (sockets have 107 bytes); processes are stopped by the ids that are
# kept there. Partitions: low and high, which preempts it; 5 s are left to the preempted. KillWait is 20 s.
set -euo pipefail

start() {
  local folder=$1 host ports node
  mkdir -p "$folder"/{state,spool,tmp,munge,log}
  chmod 755 "$folder" "$folder"/{state,spool,tmp,munge,log}
  host=$(hostname -s)
  node=$(slurmd -C | head -n 1 | sed 's/ RealMemory=[0-9]*//')  # this machine's cores
  # Ports that are free now.
  mapfile -t ports < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
for s in held: print(s.getsockname()[1])')
  dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
  chmod 600 "$folder/munge/key"
  cat > "$folder/slurm.conf" <<EOF
ClusterName=honetest
# Jobs of two such SLURMs share /tmp and /dev/shm, where PMIx and Open MPI name things by the number of the job.
FirstJobId=$((ports[0] * 100))
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
TmpFS=$folder/tmp
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
MinJobAge=600
OverTimeLimit=0
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
JobRequeue=1
MessageTimeout=10
$node NodeAddr=127.0.0.1 RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=5
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
EOF
  printf "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n" > "$folder/cgroup.conf"
  : > "$folder/pids"
  keep() { echo "$1 $(cut -d' ' -f22 "/proc/$1/stat")" >> "$folder/pids"; }
  export SLURM_CONF=$folder/slurm.conf
  # Output goes to files: nothing may keep a pipe of the caller open.
  setsid munged --foreground --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" \
    --log-file="$folder/log/munged.log" --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" \
    --num-threads=2 > "$folder/log/munged.out" 2>&1 < /dev/null &
  keep $!
  for _ in $(seq 100); do [ -S "$folder/munge/socket" ] && break; sleep 0.1; done
  setsid slurmctld -D -c -f "$SLURM_CONF" > "$folder/log/slurmctld.out" 2>&1 < /dev/null &
  keep $!
  setsid slurmd -D -f "$SLURM_CONF" -N "$host" > "$folder/log/slurmd.out" 2>&1 < /dev/null &
  keep $!
  for _ in $(seq 200); do
    if [ "$(sinfo --noheader --partition=low --format=%T 2>/dev/null)" = idle ]; then
      echo "SLURM_CONF=$SLURM_CONF"
      return 0
    fi
    sleep 0.1
  done
  echo "slurm.sh: no idle node within 20 s" >&2
  tail -n 20 "$folder"/log/* >&2
  stop "$folder"
  exit 1
}

# Jobs first: their steps would outlive the daemons.
stop() {
  local folder=$1 pid begun signal left
  [ -f "$folder/pids" ] || return 0
  export SLURM_CONF=$folder/slurm.conf
  if timeout 5 scancel --user="$(id -un)" 2>/dev/null; then
    for _ in $(seq 100); do [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break; sleep 0.1; done
  fi
  for signal in TERM KILL; do
    while read -r pid begun; do
      if [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$begun" ]; then kill -s "$signal" "$pid" 2>/dev/null || true; fi
    done < <(tac "$folder/pids")
    for _ in $(seq 50); do
      left=0
      while read -r pid begun; do
        [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" != "$begun" ] || left=1
      done < "$folder/pids"
      [ "$left" = 0 ] && { rm -f "$folder/pids"; return 0; }
      sleep 0.1
    done
  done
}

case "${1:-}" in
  start) start "$2" ;;
  stop) stop "$2" ;;
  *) echo "usage: slurm.sh start|stop FOLDER" >&2; exit 64 ;;
esac
