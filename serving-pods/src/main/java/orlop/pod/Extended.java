package orlop.pod;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.InferParameter;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import inference.ModelInferResponse.InferOutputTensor;
import io.grpc.Status;
import io.grpc.StatusException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Cancellation;
import orlop.runtime.InferenceException;
import orlop.runtime.LoadedModel;

/**
 * A request that asks for more than plain V2: inputs or outputs in shared memory, or outputs as
 * their best classes. Gives the plain request that a model can run, and what to make of its answer.
 * Owned by the thread that runs the request; the regions that it uses stay mapped until it is
 * closed.
 */
final class Extended implements AutoCloseable {
  static final String REGION = "shared_memory_region";
  private static final String OFFSET = "shared_memory_offset";
  private static final String SIZE = "shared_memory_byte_size";
  private static final String CLASSES = "classification";

  /** How one output shall come; with a region, or with a number of classes. */
  private record Wanted(
      SharedMemory.@Nullable Region region, String name, long offset, long size, long classes) {}

  private final SharedMemory memory;
  private final String podId;
  private final List<SharedMemory.Region> used = new ArrayList<>();
  private final Map<String, Wanted> wanted = new HashMap<>();
  private final ModelInferRequest plain;

  /** Raw contents of the inputs, where some lie in shared memory. */
  private @Nullable List<ByteBuffer> raws;

  private Extended(SharedMemory memory, String podId, ModelInferRequest request)
      throws StatusException {
    this.memory = memory;
    this.podId = podId;
    boolean done = false;
    try {
      ModelInferRequest.Builder builder = request.toBuilder();
      inputs(request, builder);
      outputs(request, builder);
      plain = builder.build();
      done = true;
    } finally {
      if (!done) {
        close();
      }
    }
  }

  /** Null for a plain request, which nearly all are. */
  static @Nullable Extended of(SharedMemory memory, String podId, ModelInferRequest request)
      throws StatusException {
    for (int i = 0; i < request.getInputsCount(); i++) {
      if (request.getInputs(i).getParametersCount() > 0
          && request.getInputs(i).containsParameters(REGION)) {
        return new Extended(memory, podId, request);
      }
    }
    for (int i = 0; i < request.getOutputsCount(); i++) {
      InferRequestedOutputTensor output = request.getOutputs(i);
      if (output.getParametersCount() > 0
          && (output.containsParameters(REGION) || output.containsParameters(CLASSES))) {
        return new Extended(memory, podId, request);
      }
    }
    return null;
  }

  ModelInferResponse run(LoadedModel model, Cancellation cancellation) throws InferenceException {
    List<ByteBuffer> lent = raws;
    return lent == null ? model.infer(plain, cancellation) : model.infer(plain, lent, cancellation);
  }

  @Override
  public void close() {
    used.forEach(SharedMemory.Region::leave);
    used.clear();
  }

  // ---- the request

  private void inputs(ModelInferRequest request, ModelInferRequest.Builder plain)
      throws StatusException {
    boolean shared =
        request.getInputsList().stream().anyMatch(input -> input.containsParameters(REGION));
    if (!shared) {
      return;
    }
    plain.clearInputs().clearRawInputContents();
    List<ByteBuffer> lent = new ArrayList<>(request.getInputsCount());
    int raws = request.getRawInputContentsCount();
    int raw = 0;
    for (InferInputTensor input : request.getInputsList()) {
      String what = "input '" + input.getName() + "'";
      InferInputTensor.Builder bare = input.toBuilder();
      if (input.containsParameters(REGION)) {
        if (input.hasContents() && input.getContents().getSerializedSize() > 0) {
          throw bad(what + " has contents and a shared_memory_region, expected one of them");
        }
        lent.add(part(what, input));
        bare.removeParameters(REGION).removeParameters(OFFSET).removeParameters(SIZE);
      } else if (raws == 0) {
        lent.add(raw(what, input.getDatatype(), input.getContents()));
        bare.clearContents();
      } else if (raw < raws) {
        lent.add(request.getRawInputContents(raw++).asReadOnlyByteBuffer());
      } else {
        throw bad("raw_input_contents has " + raws + " entries, too few for " + what);
      }
      plain.addInputs(bare);
    }
    if (raw < raws) {
      throw bad(
          "raw_input_contents has %d entries, expected %d: one for each input that is not in shared memory"
              .formatted(raws, raw));
    }
    this.raws = lent;
  }

  private ByteBuffer part(String what, InferInputTensor input) throws StatusException {
    Map<String, InferParameter> parameters = input.getParametersMap();
    SharedMemory.Region region = use(what, parameters);
    return region
        .part(what, number(what, parameters, OFFSET), size(what, parameters))
        .asReadOnlyBuffer();
  }

  private static ByteBuffer raw(String what, String datatype, InferTensorContents contents)
      throws StatusException {
    RestType type = RestType.of(datatype);
    if (type == null || !type.inJson()) {
      throw bad(what + " has datatype '" + datatype + "', which has no typed contents");
    }
    return RestTensor.raw(type, contents);
  }

  private void outputs(ModelInferRequest request, ModelInferRequest.Builder plain)
      throws StatusException {
    plain.clearOutputs();
    for (InferRequestedOutputTensor output : request.getOutputsList()) {
      Map<String, InferParameter> parameters = output.getParametersMap();
      InferRequestedOutputTensor.Builder bare = output.toBuilder();
      String what = "output '" + output.getName() + "'";
      boolean shared = parameters.containsKey(REGION);
      long classes = number(what, parameters, CLASSES);
      if (shared && classes > 0) {
        throw bad(what + " has a shared_memory_region and a classification, expected one of them");
      }
      if (shared) {
        SharedMemory.Region region = use(what, parameters);
        long offset = number(what, parameters, OFFSET);
        long size = size(what, parameters);
        // Refused before the model runs, not after.
        region.part(what, offset, size).limit();
        wanted.put(output.getName(), new Wanted(region, region.name(), offset, size, 0));
      } else if (classes > 0) {
        wanted.put(output.getName(), new Wanted(null, "", 0, 0, classes));
      }
      plain.addOutputs(
          bare.removeParameters(REGION)
              .removeParameters(OFFSET)
              .removeParameters(SIZE)
              .removeParameters(CLASSES));
    }
  }

  private SharedMemory.Region use(String what, Map<String, InferParameter> parameters)
      throws StatusException {
    InferParameter name = parameters.get(REGION);
    if (name == null || !name.hasStringParam()) {
      throw bad(what + ": parameter '" + REGION + "' must be a string_param");
    }
    SharedMemory.Region region = memory.use(what, name.getStringParam(), podId);
    used.add(region);
    return region;
  }

  private static long size(String what, Map<String, InferParameter> parameters)
      throws StatusException {
    if (!parameters.containsKey(SIZE)) {
      throw bad(what + ": parameter '" + SIZE + "' is missing beside '" + REGION + "'");
    }
    return number(what, parameters, SIZE);
  }

  /** 0 when it is not given. */
  private static long number(String what, Map<String, InferParameter> parameters, String key)
      throws StatusException {
    InferParameter parameter = parameters.get(key);
    if (parameter == null) {
      return 0;
    }
    long value =
        parameter.hasInt64Param()
            ? parameter.getInt64Param()
            : parameter.hasUint64Param() ? parameter.getUint64Param() : -1;
    if (value < 0) {
      throw bad(what + ": parameter '" + key + "' must be an int64_param from 0");
    }
    return value;
  }

  private static StatusException bad(String text) {
    return Status.INVALID_ARGUMENT.withDescription(text).asException();
  }

  // ---- the answer

  /**
   * Puts the outputs where the caller wants them.
   *
   * @param batched whether the model's first dimension is a batch
   * @return the answer without what lies in shared memory
   */
  ModelInferResponse answer(ModelInferResponse response, boolean batched) throws StatusException {
    if (wanted.isEmpty()) {
      return response;
    }
    List<RestTensor> tensors = tensors(response);
    boolean raw = response.getRawOutputContentsCount() > 0;
    ModelInferResponse.Builder told = response.toBuilder().clearOutputs().clearRawOutputContents();
    for (int i = 0; i < tensors.size(); i++) {
      RestTensor tensor = tensors.get(i);
      InferOutputTensor.Builder output = response.getOutputs(i).toBuilder();
      Wanted form = wanted.get(tensor.name());
      ByteString contents = raw ? response.getRawOutputContents(i) : ByteString.EMPTY;
      if (form != null && form.region != null) {
        write(form, form.region, tensor, output);
        contents = ByteString.EMPTY;
      } else if (form != null) {
        contents = classify(form, tensor, batched, raw, output);
      }
      told.addOutputs(output);
      if (raw) {
        told.addRawOutputContents(contents);
      }
    }
    return told.build();
  }

  private static List<RestTensor> tensors(ModelInferResponse response) throws StatusException {
    try {
      return RestTensor.of(response);
    } catch (RestError e) {
      throw Status.INTERNAL.withDescription(e.text()).asException();
    }
  }

  private static void write(
      Wanted form, SharedMemory.Region region, RestTensor tensor, InferOutputTensor.Builder output)
      throws StatusException {
    ByteBuffer raw = tensor.raw();
    String what = "output '" + tensor.name() + "'";
    int bytes = raw.remaining();
    if (bytes > form.size) {
      throw bad(
          "%s takes %d bytes, its shared_memory_byte_size is %d".formatted(what, bytes, form.size));
    }
    region.part(what, form.offset, bytes).put(raw);
    output
        .clearContents()
        .putParameters(REGION, InferParameter.newBuilder().setStringParam(form.name).build())
        .putParameters(SIZE, InferParameter.newBuilder().setInt64Param(bytes).build());
    if (form.offset > 0) {
      output.putParameters(OFFSET, InferParameter.newBuilder().setInt64Param(form.offset).build());
    }
  }

  /** The texts in raw form, where the answer is raw; else they stand in the output itself. */
  private static ByteString classify(
      Wanted form,
      RestTensor tensor,
      boolean batched,
      boolean raw,
      InferOutputTensor.Builder output)
      throws StatusException {
    Classification.Classes best = Classification.of(tensor, form.classes, batched);
    output.setDatatype("BYTES").clearShape().addAllShape(best.shape()).clearContents();
    if (!raw) {
      output.setContents(InferTensorContents.newBuilder().addAllBytesContents(best.texts()));
      return ByteString.EMPTY;
    }
    int bytes = best.texts().stream().mapToInt(text -> 4 + text.size()).sum();
    ByteBuffer out = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (ByteString text : best.texts()) {
      out.putInt(text.size());
      text.copyTo(out);
    }
    return UnsafeByteOperations.unsafeWrap(out.flip());
  }
}
