#!/usr/bin/env bash
# A study on two nodes of a Slurm cluster: sbatch examples/cluster/slurm.sh my_study.yaml
# Change the numbers below. A job that is preempted or runs out of time goes on where the ledger ends when it starts again.
#SBATCH --job-name=prune-or-search
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

study=${1:?give the YAML file of a study}
out=${2:-runs/$(basename "$study" .yaml)}   # on storage that all nodes share
port=${RAY_PORT:-6379}

# Only processes of this job have the token; without one, whoever reaches the port runs code on these nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 \
    ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --disable-usage-stats -- \
    prune-or-search run "$study" --out "$out" --address auto
