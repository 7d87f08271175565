#!/bin/sh
# The state of the job with this id, as Snakemake wants it: running, success or failed.

state=$(squeue --noheader --states=all --jobs="$1" --format=%T 2>&1)
# PBS: state=$(qstat -x -f "$1" | sed -n 's/^ *\(job_state\|Exit_status\) = //p' | tr '\n' ' ')
# LSF: state=$(bjobs -noheader -o stat "$1")

case $state in
    COMPLETED) echo success ;;
    BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT) echo failed ;;
    *"Invalid job id"*) echo failed ;;  # forgotten, minutes after it ended: submitted again, it finds what is done
    *) echo running ;;                  # waiting, running, being requeued; or the scheduler does not answer now
esac
# PBS: "F 0 " is success, "F "* is failed.   LSF: DONE is success, EXIT is failed.
