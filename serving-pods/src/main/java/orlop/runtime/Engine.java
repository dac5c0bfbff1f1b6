package orlop.runtime;

import ai.onnxruntime.OrtEnvironment;

/**
 * What all models of the process share.
 *
 * @param strings byte-exact string tensors
 * @param casts tensors of the unsigned types
 * @param heap gives memory back after unloads
 * @param onGpu whether models run on a GPU, from where the engine copies their outputs
 */
record Engine(
    OrtEnvironment environment,
    StringTensors strings,
    UnsignedCast casts,
    NativeHeap heap,
    boolean onGpu) {}
