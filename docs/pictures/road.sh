#!/usr/bin/env bash
# The road in six commands, as make.py records it. Needs an installed tfresnet; writes to runs/.
run() {
    printf '\033[1;32m$\033[0m \033[1m%s\033[0m\n' "$*"
    sleep 1.5
    eval "$*"
    sleep 2
}
run tfresnet train
run tfresnet export runs/quickstart --tflite --onnx
run 'tfresnet predict runs/quickstart/export/model_int8.tflite runs/quickstart/samples/*.png'
run 'tfresnet benchmark runs/quickstart/export/model_*.tflite'
