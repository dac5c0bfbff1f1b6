package orlop.runtime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The input tensors of one request: checked against the model, in memory that the engine reads.
 * Owned by the thread that runs the request; closing frees the memory.
 *
 * <p>Raw contents that lie in aligned native memory already are used where they are; all others are
 * copied once.
 */
final class RequestTensors implements AutoCloseable {
  private static final int ALIGNMENT_BYTES = 64;

  private final Signature signature;
  private final Engine engine;
  private final Arena arena = Arena.ofConfined();
  private final List<AutoCloseable> owned = new ArrayList<>(4);
  private final Map<String, OnnxTensor> tensors;

  RequestTensors(Signature signature, Engine engine) {
    this.signature = signature;
    this.engine = engine;
    this.tensors = LinkedHashMap.newLinkedHashMap(signature.inputs().size());
  }

  /** By input name, ready to run. */
  Map<String, OnnxTensor> tensors() {
    return tensors;
  }

  /**
   * @param lent raw contents in memory that others may write to, one for each input; null when the
   *     request has its contents itself
   */
  void decode(ModelInferRequest request, @Nullable List<ByteBuffer> lent)
      throws InferenceException, OrtException {
    boolean raw = request.getRawInputContentsCount() > 0;
    if (raw && request.getRawInputContentsCount() != request.getInputsCount()) {
      throw signature.refuse(
          "raw_input_contents has "
              + request.getRawInputContentsCount()
              + " entries, expected one for each of the "
              + request.getInputsCount()
              + " inputs");
    }
    for (int i = 0; i < request.getInputsCount(); i++) {
      InferInputTensor input = request.getInputs(i);
      TensorSpec spec = signature.inputs().get(input.getName());
      if (spec == null) {
        throw signature.refuse(
            "no input '"
                + input.getName()
                + "', expected "
                + Signature.list(signature.inputs().values()));
      }
      if (tensors.containsKey(spec.name())) {
        throw signature.refuseInput(spec, "given twice, expected once");
      }
      TensorCheck check = TensorCheck.of(signature, spec, input);
      OnnxTensor tensor =
          lent != null
              ? fromLent(check, input, lent.get(i))
              : raw
                  ? fromRaw(check, input, request.getRawInputContents(i))
                  : fromContents(check, input.getContents());
      tensors.put(spec.name(), tensor);
    }
    requireAll();
  }

  @Override
  public void close() {
    for (AutoCloseable each : owned.reversed()) {
      try {
        each.close();
      } catch (Exception e) {
        throw new IllegalStateException("an input tensor did not close", e);
      }
    }
    arena.close();
  }

  private void requireAll() throws InferenceException {
    if (tensors.size() == signature.inputs().size()) {
      return;
    }
    for (TensorSpec spec : signature.inputs().values()) {
      if (!tensors.containsKey(spec.name())) {
        throw signature.refuse(
            "input '"
                + spec.name()
                + "' is missing, expected "
                + Signature.list(signature.inputs().values())
                + ", got "
                + tensors.keySet());
      }
    }
  }

  private OnnxTensor fromRaw(TensorCheck check, InferInputTensor input, ByteString raw)
      throws InferenceException, OrtException {
    check.requireNoContents(input.getContents());
    TensorType type = check.spec().type();
    if (type == TensorType.BYTES) {
      return own(engine.strings().create(check.splitBytes(raw), check.shape()));
    }
    check.requireRawLength(raw.size());
    ByteBuffer data = inPlace(raw, type.width);
    if (data == null) {
      data = allocate(raw.size());
      raw.copyTo(data);
      data.flip();
    }
    if (type == TensorType.BOOL) {
      check.requireBooleans(data);
    }
    return numbers(check, data);
  }

  /** What is checked for its form must not change after the check, so that is copied before. */
  private OnnxTensor fromLent(TensorCheck check, InferInputTensor input, ByteBuffer lent)
      throws InferenceException, OrtException {
    TensorType type = check.spec().type();
    if (type == TensorType.BYTES) {
      return fromRaw(check, input, ByteString.copyFrom(lent.duplicate()));
    }
    check.requireNoContents(input.getContents());
    check.requireRawLength(lent.remaining());
    ByteBuffer data = type == TensorType.BOOL ? null : inPlace(lent, type.width);
    if (data == null) {
      data = allocate(lent.remaining());
      data.put(lent.duplicate()).flip();
    }
    if (type == TensorType.BOOL) {
      check.requireBooleans(data);
    }
    return numbers(check, data);
  }

  private static @Nullable ByteBuffer inPlace(ByteString raw, int width) {
    List<ByteBuffer> parts = raw.asReadOnlyByteBufferList();
    return parts.size() == 1 ? inPlace(parts.getFirst(), width) : null;
  }

  /** The bytes where they are, if the engine can read them there; null when not. */
  private static @Nullable ByteBuffer inPlace(ByteBuffer whole, int width) {
    if (!whole.isDirect() || !whole.hasRemaining()) {
      return null;
    }
    return MemorySegment.ofBuffer(whole).address() % width == 0
        ? whole.slice().order(ByteOrder.nativeOrder())
        : null;
  }

  private OnnxTensor fromContents(TensorCheck check, InferTensorContents contents)
      throws InferenceException, OrtException {
    int count = check.requireContents(contents);
    TensorType type = check.spec().type();
    if (type == TensorType.BYTES) {
      return own(engine.strings().create(contents.getBytesContentsList(), check.shape()));
    }
    ByteBuffer data = allocate((long) count * type.width);
    TypedContents.write(check, contents, count, data);
    data.flip();
    return numbers(check, data);
  }

  private ByteBuffer allocate(long bytes) {
    // Never empty, because the engine wants an address even for a tensor without elements.
    MemorySegment segment = arena.allocate(Math.max(bytes, 1), ALIGNMENT_BYTES);
    return segment.asByteBuffer().order(ByteOrder.nativeOrder()).limit(Math.toIntExact(bytes));
  }

  private OnnxTensor numbers(TensorCheck check, ByteBuffer data) throws OrtException {
    TensorType type = check.spec().type();
    OnnxTensor tensor =
        own(OnnxTensor.createTensor(engine.environment(), data, check.shape(), type.javaType));
    if (!type.needsCast()) {
      return tensor;
    }
    OrtSession.Result cast = own(engine.casts().apply(type, tensor));
    return (OnnxTensor) cast.get(0);
  }

  private <T extends AutoCloseable> T own(T resource) {
    owned.add(resource);
    return resource;
  }
}
