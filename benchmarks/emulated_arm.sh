#!/usr/bin/env bash
# The bundle on a Raspberry Pi's processors, emulated: do classify.py and its interpreter run there, and
# are the answers those of this machine?
#
#     benchmarks/emulated_arm.sh RUN/export
#
# Needs Debian 12 or something like it, as root, with qemu-user-static; leaves nothing behind but the two
# foreign architectures in apt's list. 64-bit (Cortex-A72): Python of Debian, ai-edge-litert and
# onnxruntime of PyPI. 32-bit (Armv7): Python, NumPy and Pillow of Debian, tflite-runtime of PyPI, as
# ai-edge-litert has no wheel for it. Emulation says nothing about speed.
set -euo pipefail
export_folder=$(realpath "$1")
bundle=$export_folder/bundle
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
python="python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libgcc-s1 libstdc++6 zlib1g
 libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libcrypt1"
pictures="python3-numpy python3-pil libblas3 liblapack3 libgfortran5 libgomp1 libjpeg62-turbo libtiff6
 libwebp7 libwebpdemux2 libwebpmux3 libopenjp2-7 liblcms2-2 libfreetype6 libimagequant0 libraqm0 libxcb1
 libxau6 libxdmcp6 libbsd0 libmd0 libzstd1 liblerc4 libjbig0 libdeflate0 libpng16-16 libbrotli1"

root() { # NAME ARCHITECTURE PACKAGES: a folder with a system's files and an Arm processor's description
  mkdir -p "$work/$1/root" "$work/$1/site"
  (cd "$work/$1" && apt-get download -qq $(printf "%s:$2 " $3) 2>/dev/null)
  for package in "$work/$1"/*.deb; do dpkg -x "$package" "$work/$1/root"; done
  # What LiteRT asks of the processor must not come from this machine's.
  mkdir -p "$work/$1/root/proc" "$work/$1/root/sys/devices/system/cpu"
  printf 'processor\t: 0\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: %s\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\nHardware\t: BCM2711\n' \
    "$4" "$5" >"$work/$1/root/proc/cpuinfo"
  echo 0 | tee "$work/$1/root/sys/devices/system/cpu/possible" >"$work/$1/root/sys/devices/system/cpu/present"
}

wheels() { # NAME PLATFORMS... -- PACKAGES...
  local name=$1 platforms=() && shift
  while [ "$1" != -- ]; do platforms+=(--platform "$1") && shift; done
  shift
  python3 -m pip download --quiet --only-binary=:all: "${platforms[@]}" --python-version 311 \
    --implementation cp --abi cp311 --abi abi3 --abi none "$@" --dest "$work/$name/wheels" 2>/dev/null
  for wheel in "$work/$name/wheels"/*.whl; do python3 -m zipfile -e "$wheel" "$work/$name/site"; done
}

run() { # NAME QEMU PROCESSOR MODEL
  PYTHONHOME="$work/$1/root/usr" PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH="$work/$1/site:$work/$1/root/usr/lib/python3/dist-packages" \
    "$2" -L "$work/$1/root" -cpu "$3" "$work/$1/root/usr/bin/python3.11" \
    "$bundle/classify.py" "$4" "$bundle/sample.png" --top 3
}

dpkg --add-architecture arm64
dpkg --add-architecture armhf
apt-get update -qq 2>/dev/null || true
root arm64 arm64 "$python" "fp asimd evtstrm crc32 cpuid" 8
wheels arm64 manylinux_2_28_aarch64 manylinux_2_27_aarch64 manylinux_2_17_aarch64 manylinux2014_aarch64 \
  -- ai-edge-litert==2.3.0 numpy pillow onnxruntime
root arm32 armhf "$python $pictures" "half thumb fastmult vfp edsp neon vfpv3 vfpv4 idiva idivt" 7
wheels arm32 manylinux_2_34_armv7l -- --no-deps tflite-runtime==2.14.0
(cd "$work/arm32/root/usr/lib/arm-linux-gnueabihf" && ln -sf blas/libblas.so.3 lapack/liblapack.so.3 .)

for model in "$export_folder"/model_{float32,int8}.{tflite,onnx}; do
  [ -e "$model" ] || continue
  echo "$(basename "$model")"
  echo "  here    $(python3 "$bundle/classify.py" "$model" "$bundle/sample.png" --top 3 | sed 's/.*: //')"
  echo "  64-bit  $(run arm64 qemu-aarch64-static cortex-a72 "$model" | sed 's/.*: //')"
  case $model in *.tflite)
    echo "  32-bit  $(run arm32 qemu-arm-static max "$model" | sed 's/.*: //')" ;;
  esac
done
