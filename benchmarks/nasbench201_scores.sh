# Scores of NAS-Bench-201 by every proxy, for the proxy benchmark and the searches: most of them on the whole space, the
# dearest on a sample, and two more draws of images and weights on samples, which show how much a score depends on the draw.
#
#   sh benchmarks/nasbench201_scores.sh
#
# Over an hour on two cores, 52 minutes of it the whole space; run again, it continues. Wants data/cifar10.npz and
# data/tiny_imagenet_100.npz, 100 classes of Tiny-ImageNet at 32x32 (see benchmarks/README.md).
set -eu

counts=params,macs,live_conv_weights,live_conv_count,longest_path,l2_norm
looks=naswot,swap,swap_regularised,linear_regions,meco,meco_opt,zen,az_expressivity,az_progressivity
diswot=diswot_relation,diswot_semantic,diswot
teacher=kd_kd,kd_at,kd_sp,kd_rkd,kd_nst,kd_pkt,kd_cc,kd_fitnet,kd_cka
gradients=jacob_cov,epe_nas,synflow,logsynflow,az_trainability,az_nas
dear=grad_norm,plain,snip,fisher,zico,gradsign
dearest=grasp,vkdnw,ntk_condition
forward=$looks,$diswot,$teacher,found_nb201
most=$forward,$gradients

score() {  # space, folder, proxies, how many architectures (0: all; a smaller sample is part of a larger one), and more
    space=$1 folder=$2 proxies=$3 sample=$4
    shift 4
    automl-kd score "$space" --out "$folder" --proxies "$proxies" --sample "$sample" --top 5 "$@"
}

cells=search_spaces.nasbench201:SPACE
cifar10="--data arrays:data/cifar10.npz"
score $cells results/nasbench201 "$counts,$forward" 0 $cifar10
score $cells results/nasbench201 "$gradients" 0 $cifar10
score $cells results/nasbench201 "$dear" 850 $cifar10
score $cells results/nasbench201 "$dearest" 200 $cifar10
for seed in 1 2; do
    score $cells results/nasbench201 "$most,$dear" 60 $cifar10 --seed $seed
done
# The students of S1 were trained on CIFAR-100: shown images in as many classes.
score search_spaces.resnet_depth:SPACE results/s1 "$counts,$most,$dear" 0 --data arrays:data/tiny_imagenet_100.npz --repeats 3
