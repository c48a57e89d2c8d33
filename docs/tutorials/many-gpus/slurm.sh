#!/bin/bash
#SBATCH --job-name=imagenet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

export TFDS_DATA_DIR=/shared/tensorflow_datasets
run=/shared/runs/$SLURM_JOB_NAME
resume=()
[ -e "$run/config.yaml" ] && resume=(--resume)

srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  tfresnet train imagenet-resnet50 --strategy multiworker --run-dir "$run" "${resume[@]}"
status=$?

# 138: SIGUSR1, two minutes before the time is up. Saved: queue the job again.
[ $status -eq 138 ] && scontrol requeue "$SLURM_JOB_ID"
exit $status
