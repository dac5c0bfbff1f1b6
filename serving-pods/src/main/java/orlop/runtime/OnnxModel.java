package orlop.runtime;

import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtException.OrtErrorCode;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.RunOptions;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import orlop.runtime.InferenceException.Code;

/** One ONNX Runtime session and what it declares. */
final class OnnxModel implements EncodedModel {
  private static final System.Logger LOG = System.getLogger(OnnxModel.class.getName());
  private static final int CLOSED = Integer.MIN_VALUE;

  /*
   * Life. `users` counts running inferences; close() adds CLOSED, which makes it negative for good.
   * Whoever brings it to exactly CLOSED frees the session: close() itself when nothing runs, else
   * the last inference. So native memory is never freed under a run, and nobody waits.
   */
  private final AtomicInteger users = new AtomicInteger();

  private final Signature signature;
  private final ModelMetadataResponse metadata;
  private final long sizeBytes;
  private final long predictedSizeBytes;
  private final OrtSession session;
  private final Engine engine;
  private final EncodedOnnx encoded;
  private final Runnable freed;

  private OnnxModel(
      Signature signature,
      long sizeBytes,
      long predictedSizeBytes,
      OrtSession session,
      Engine engine,
      Runnable freed) {
    this.signature = signature;
    this.metadata = signature.metadata("onnxruntime_onnx");
    this.sizeBytes = sizeBytes;
    this.predictedSizeBytes = predictedSizeBytes;
    this.session = session;
    this.engine = engine;
    this.encoded = new EncodedOnnx(signature, EngineApi.handle(session), !engine.onGpu());
    this.freed = freed;
  }

  /**
   * @param sizeBytes what it counts as; near what its file says, or measured
   * @param freed run once the session is closed
   */
  static OnnxModel of(
      String modelId,
      OnnxFile file,
      long sizeBytes,
      OrtSession session,
      Engine engine,
      Runnable freed)
      throws OrtException, ModelLoadException {
    Signature signature = Signature.of(modelId, file, session);
    return new OnnxModel(signature, sizeBytes, file.residentBytes(), session, engine, freed);
  }

  @Override
  public ModelMetadataResponse metadata() {
    return metadata;
  }

  @Override
  public long sizeBytes() {
    return sizeBytes;
  }

  @Override
  public long predictedSizeBytes() {
    return predictedSizeBytes;
  }

  @Override
  public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
      throws InferenceException {
    return inferOpen(request, null, cancellation);
  }

  @Override
  public ModelInferResponse infer(
      ModelInferRequest request, List<ByteBuffer> raws, Cancellation cancellation)
      throws InferenceException {
    return inferOpen(request, raws, cancellation);
  }

  private ModelInferResponse inferOpen(
      ModelInferRequest request, @Nullable List<ByteBuffer> raws, Cancellation cancellation)
      throws InferenceException {
    enterOpen();
    try {
      return run(request, raws, cancellation);
    } finally {
      leave();
    }
  }

  @Override
  public boolean computesOnly() {
    return true;
  }

  @Override
  public boolean admits(EncodedRequest request) {
    return encoded.admits(request);
  }

  @Override
  public boolean takesRows() {
    return encoded.takesRows();
  }

  @Override
  public boolean infer(
      List<? extends EncodedCall> calls, Workspace workspace, Cancellation cancellation)
      throws InferenceException {
    enterOpen();
    try {
      if (cancellation.isCancelled()) {
        throw cancelled();
      }
      return encoded.infer(calls, workspace, cancellation);
    } catch (OrtException e) {
      throw failure(e, cancellation);
    } catch (OutOfMemoryError e) {
      throw noMemory(e);
    } finally {
      leave();
    }
  }

  @Override
  public void close() {
    int before = users.getAndUpdate(n -> n < 0 ? n : n + CLOSED);
    if (before == 0) {
      free();
    }
  }

  private void enterOpen() throws InferenceException {
    if (!enter()) {
      throw new InferenceException(
          Code.INTERNAL, "model '" + signature.modelId() + "' is unloaded and runs no more");
    }
  }

  private boolean enter() {
    // A reader may see a closed count move by one and back; it only ever frees at exactly CLOSED.
    return users.getAndUpdate(n -> n < 0 ? n : n + 1) >= 0;
  }

  private void leave() {
    if (users.decrementAndGet() == CLOSED) {
      free();
    }
  }

  private void free() {
    try (NativeHeap.Change _ = NativeHeap.unloading()) {
      session.close();
    } catch (OrtException e) {
      LOG.log(
          Level.WARNING, "model ''{0}'' did not close: {1}", signature.modelId(), e.getMessage());
    }
    freed.run();
    engine.heap().trimSoon();
  }

  private ModelInferResponse run(
      ModelInferRequest request, @Nullable List<ByteBuffer> raws, Cancellation cancellation)
      throws InferenceException {
    List<TensorSpec> outputs = signature.requestedOutputs(request.getOutputsList());
    Set<String> outputNames = LinkedHashSet.newLinkedHashSet(outputs.size());
    for (TensorSpec output : outputs) {
      outputNames.add(output.name());
    }
    if (cancellation.isCancelled()) {
      throw cancelled();
    }
    try (RequestTensors inputs = new RequestTensors(signature, engine)) {
      inputs.decode(request, raws);
      try (OrtSession.Result result = execute(inputs, outputNames, cancellation)) {
        ModelInferResponse.Builder response =
            ModelInferResponse.newBuilder()
                .setModelName(request.getModelName())
                .setModelVersion(request.getModelVersion())
                .setId(request.getId());
        boolean raw = raws != null || request.getRawInputContentsCount() > 0;
        ResponseTensors.encode(signature, engine.strings(), outputs, result, raw, response);
        return response.build();
      }
    } catch (OrtException e) {
      throw failure(e, cancellation);
    } catch (OutOfMemoryError e) {
      throw noMemory(e);
    }
  }

  private InferenceException noMemory(OutOfMemoryError e) {
    String text = "model '" + signature.modelId() + "': no memory for the tensors: ";
    return new InferenceException(Code.RESOURCE_EXHAUSTED, text + e.getMessage(), e);
  }

  private OrtSession.Result execute(
      RequestTensors inputs, Set<String> outputNames, Cancellation cancellation)
      throws OrtException {
    if (cancellation == Cancellation.NEVER) {
      return session.run(inputs.tensors(), outputNames);
    }
    try (RunOptions options = new RunOptions()) {
      cancellation.begin(() -> options.setTerminate(true));
      try {
        return session.run(inputs.tensors(), outputNames, options);
      } finally {
        cancellation.end();
      }
    }
  }

  private InferenceException failure(OrtException e, Cancellation cancellation) {
    // The engine has no code for a terminated run, so the flag decides.
    if (cancellation.isCancelled()) {
      return cancelled();
    }
    Code code;
    if (OnnxRuntime.isOutOfMemory(e)) {
      code = Code.RESOURCE_EXHAUSTED;
    } else if (e.getCode() == OrtErrorCode.ORT_INVALID_ARGUMENT) {
      code = Code.INVALID_ARGUMENT;
    } else {
      code = Code.INTERNAL;
    }
    return new InferenceException(
        code, "model '" + signature.modelId() + "': " + e.getMessage(), e);
  }

  private InferenceException cancelled() {
    return new InferenceException(
        Code.CANCELLED, "model '" + signature.modelId() + "': the inference was cancelled");
  }
}
