package orlop.runtime;

import ai.djl.Model;
import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.ParameterStore;
import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import inference.ModelInferResponse.InferOutputTensor;
import inference.ModelMetadataResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import orlop.runtime.InferenceException.Code;

/**
 * One TorchScript module behind V2. The file says neither names nor shapes. Where the model's key
 * declares them ({@link DeclaredTensors}), requests and answers keep to that. Else inputs are
 * arguments in the order of their names' numbers ({@code INPUT__0}, {@code INPUT__1}, as Triton has
 * it), else in the order of the request; outputs are {@code OUTPUT__0} and so on, or the keys of a
 * dictionary.
 */
final class TorchModel implements LoadedModel {
  private static final String OUTPUT = "OUTPUT__";
  private static final String NUMBER = "__";
  private static final String PLATFORM = "pytorch_libtorch";

  private final String modelId;
  private final Model model;
  private final long sizeBytes;

  /** Null: the signature is open. */
  private final @Nullable Signature declared;

  /** The declared one, or one without a tensor, for the texts of refusals. */
  private final Signature signature;

  /** Inferences that run, and one for the model that is not closed. */
  private final AtomicInteger users = new AtomicInteger(1);

  private final AtomicBoolean closed = new AtomicBoolean();

  TorchModel(String modelId, Model model, long sizeBytes, @Nullable Signature declared) {
    this.modelId = modelId;
    this.model = model;
    this.sizeBytes = sizeBytes;
    this.declared = declared;
    this.signature =
        declared == null ? new Signature(modelId, Map.of(), Map.of(), Map.of()) : declared;
  }

  @Override
  public ModelMetadataResponse metadata() {
    ModelMetadataResponse told = signature.metadata(PLATFORM);
    return declared != null
        ? told
        : told.toBuilder()
            .putProperties(
                "orlop.signature",
                "open: a TorchScript file names no inputs and outputs, and the model's key none")
            .build();
  }

  @Override
  public long sizeBytes() {
    return sizeBytes;
  }

  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      leave();
    }
  }

  private void leave() {
    if (users.decrementAndGet() == 0) {
      model.close();
    }
  }

  @Override
  public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
      throws InferenceException {
    if (closed.get() || users.getAndUpdate(n -> n == 0 ? 0 : n + 1) == 0) {
      throw new InferenceException(
          Code.INTERNAL, "model '" + modelId + "' is unloaded and runs no more");
    }
    try (NDManager manager = model.getNDManager().newSubManager()) {
      NDList arguments = arguments(request, manager);
      if (cancellation.isCancelled()) {
        throw new InferenceException(
            Code.CANCELLED, "model '" + modelId + "': the inference was cancelled");
      }
      return response(request, run(arguments, manager));
    } finally {
      leave();
    }
  }

  private NDList run(NDList arguments, NDManager manager) throws InferenceException {
    try {
      NDList results =
          model.getBlock().forward(new ParameterStore(manager, false), arguments, false);
      results.attach(manager);
      return results;
    } catch (EngineException e) {
      // It does not say whose mistake it is; nearly always tensors do not fit the model.
      String text = TorchRuntime.cause(e.getMessage());
      Code code =
          text.contains("not enough memory") ? Code.RESOURCE_EXHAUSTED : Code.INVALID_ARGUMENT;
      throw new InferenceException(code, "model '" + modelId + "': " + text, e);
    }
  }

  // ---- in

  private NDList arguments(ModelInferRequest request, NDManager manager) throws InferenceException {
    int count = request.getInputsCount();
    int raws = request.getRawInputContentsCount();
    if (raws != 0 && raws != count) {
      throw signature.refuse(
          "raw_input_contents has " + raws + " entries, expected one for each of " + count);
    }
    if (declared != null && count != declared.inputs().size()) {
      throw declared.refuse(
          count + " inputs, expected " + Signature.list(declared.inputs().values()));
    }
    @Nullable NDArray[] arguments = new @Nullable NDArray[count];
    for (int i = 0; i < count; i++) {
      InferInputTensor input = request.getInputs(i);
      int place = declared == null ? place(request, i) : place(declared, input.getName());
      if (arguments[place] != null) {
        throw signature.refuse(
            "argument " + place + " is given twice, by '" + input.getName() + "' too");
      }
      arguments[place] = array(input, raws == 0 ? null : request.getRawInputContents(i), manager);
    }
    return new NDList(arguments);
  }

  private static int place(Signature declared, String name) throws InferenceException {
    int place = 0;
    for (String known : declared.inputs().keySet()) {
      if (known.equals(name)) {
        return place;
      }
      place++;
    }
    throw declared.refuse(
        "no input '" + name + "', expected " + Signature.list(declared.inputs().values()));
  }

  /** Which argument an input is: what its name says when all names have numbers, else its place. */
  private int place(ModelInferRequest request, int index) throws InferenceException {
    int place = index;
    for (int i = 0; i < request.getInputsCount(); i++) {
      int number = number(request.getInputs(i).getName());
      if (number < 0) {
        return index;
      }
      place = i == index ? number : place;
    }
    if (place >= request.getInputsCount()) {
      throw signature.refuse(
          "input '%s' is argument %d, expected numbers from 0 to %d without a gap"
              .formatted(request.getInputs(index).getName(), place, request.getInputsCount() - 1));
    }
    return place;
  }

  /** The number after the last two underscores; -1 when there is none. */
  private static int number(String name) {
    int at = name.lastIndexOf(NUMBER);
    if (at < 0 || name.length() - at - NUMBER.length() > 4) {
      return -1;
    }
    try {
      return Integer.parseUnsignedInt(name.substring(at + NUMBER.length()));
    } catch (NumberFormatException e) {
      return -1;
    }
  }

  private NDArray array(InferInputTensor input, @Nullable ByteString raw, NDManager manager)
      throws InferenceException {
    TensorType type = TensorType.ofWireName(input.getDatatype());
    DataType element = type == null ? null : element(type);
    if (type == null || element == null) {
      throw signature.refuse(
          "input '%s' has datatype '%s', which PyTorch has no tensors of"
              .formatted(input.getName(), input.getDatatype()));
    }
    TensorSpec spec = signature.inputs().get(input.getName());
    if (spec == null) {
      spec = new TensorSpec(input.getName(), type, new long[0], false);
    }
    TensorCheck check = TensorCheck.of(signature, spec, input);
    ByteBuffer data =
        ByteBuffer.allocateDirect(check.count() * type.width).order(ByteOrder.LITTLE_ENDIAN);
    if (raw != null) {
      check.requireNoContents(input.getContents());
      check.requireRawLength(raw.size());
      raw.copyTo(data);
    } else {
      int count = check.requireContents(input.getContents());
      TypedContents.write(check, input.getContents(), count, data);
    }
    data.flip();
    if (type == TensorType.BOOL) {
      check.requireBooleans(data);
    }
    return manager.create(data, new Shape(check.shape()), element);
  }

  /** Null when PyTorch has no tensors of it. */
  static @Nullable DataType element(TensorType type) {
    return switch (type) {
      case BOOL -> DataType.BOOLEAN;
      case UINT8 -> DataType.UINT8;
      case INT8 -> DataType.INT8;
      case INT16 -> DataType.INT16;
      case INT32 -> DataType.INT32;
      case INT64 -> DataType.INT64;
      case FP16 -> DataType.FLOAT16;
      case BF16 -> DataType.BFLOAT16;
      case FP32 -> DataType.FLOAT32;
      case FP64 -> DataType.FLOAT64;
      case UINT16, UINT32, UINT64, BYTES -> null;
    };
  }

  // ---- out

  private ModelInferResponse response(ModelInferRequest request, NDList results)
      throws InferenceException {
    Map<String, NDArray> named = declared == null ? named(results) : named(declared, results);
    List<String> wanted = new ArrayList<>();
    for (InferRequestedOutputTensor output : request.getOutputsList()) {
      if (!named.containsKey(output.getName())) {
        throw signature.refuse(
            "no output '" + output.getName() + "', expected of " + named.keySet());
      }
      if (wanted.contains(output.getName())) {
        throw signature.refuse(
            "output '" + output.getName() + "' is requested twice, expected once");
      }
      wanted.add(output.getName());
    }
    ModelInferResponse.Builder response =
        ModelInferResponse.newBuilder()
            .setModelName(request.getModelName())
            .setModelVersion(request.getModelVersion())
            .setId(request.getId());
    List<String> names = wanted.isEmpty() ? List.copyOf(named.keySet()) : wanted;
    boolean raw = request.getRawInputContentsCount() > 0;
    Map<String, TensorType> types = new LinkedHashMap<>();
    for (String name : names) {
      NDArray array = known(named, name);
      TensorType type = type(name, array);
      types.put(name, type);
      raw |= type.field == null;
    }
    for (Map.Entry<String, TensorType> each : types.entrySet()) {
      add(each.getKey(), each.getValue(), known(named, each.getKey()), raw, response);
    }
    return response.build();
  }

  private static Map<String, NDArray> named(NDList results) {
    Map<String, NDArray> named = new LinkedHashMap<>();
    for (int i = 0; i < results.size(); i++) {
      NDArray result = results.get(i);
      named.put(hasName(result) ? String.valueOf(result.getName()) : OUTPUT + i, result);
    }
    return named;
  }

  /** Whether it comes out of a dictionary. */
  private static boolean hasName(NDArray result) {
    String own = result.getName();
    return own != null && !own.isEmpty();
  }

  /** By their own names where the model gives a dictionary, else by their places alone. */
  private Map<String, NDArray> named(Signature declared, NDList results) throws InferenceException {
    Map<String, NDArray> own = named(results);
    boolean dictionary = results.stream().anyMatch(TorchModel::hasName);
    Map<String, NDArray> named = new LinkedHashMap<>();
    for (TensorSpec spec : declared.outputs().values()) {
      NDArray there = own.get(dictionary ? spec.name() : OUTPUT + named.size());
      boolean fits =
          there != null
              && there.getDataType() == element(spec.type())
              && spec.admits(there.getShape().getShape());
      if (!fits) {
        String gave =
            there == null
                ? "has none among " + own.keySet()
                : "gave " + there.getDataType() + TensorSpec.text(there.getShape().getShape());
        throw new InferenceException(
            Code.INTERNAL,
            "model '%s': its key declares output %s, and it %s".formatted(modelId, spec, gave));
      }
      named.put(spec.name(), there);
    }
    return named;
  }

  private static NDArray known(Map<String, NDArray> named, String name) {
    NDArray array = named.get(name);
    if (array == null) {
      throw new IllegalStateException("no output " + name);
    }
    return array;
  }

  private TensorType type(String name, NDArray array) throws InferenceException {
    for (TensorType type : TensorType.values()) {
      if (element(type) == array.getDataType()) {
        return type;
      }
    }
    throw new InferenceException(
        Code.INTERNAL,
        "model '%s': output '%s' is of %s, which V2 cannot carry"
            .formatted(modelId, name, array.getDataType()));
  }

  private static void add(
      String name,
      TensorType type,
      NDArray array,
      boolean raw,
      ModelInferResponse.Builder response) {
    InferOutputTensor.Builder output =
        InferOutputTensor.newBuilder().setName(name).setDatatype(type.name());
    for (long dimension : array.getShape().getShape()) {
      output.addShape(dimension);
    }
    ByteBuffer data = array.toByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    if (raw) {
      response.addRawOutputContents(ByteString.copyFrom(data));
    } else {
      InferTensorContents contents = TypedContents.read(type, data);
      output.setContents(contents);
    }
    response.addOutputs(output);
  }
}
