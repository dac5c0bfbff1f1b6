package orlop.runtime;

import ai.onnxruntime.OrtEnvironment;

/**
 * What all models of the process share.
 *
 * @param strings byte-exact string tensors
 * @param casts tensors of the unsigned types
 * @param heap gives memory back after unloads
 */
record Engine(
    OrtEnvironment environment, StringTensors strings, UnsignedCast casts, NativeHeap heap) {}
