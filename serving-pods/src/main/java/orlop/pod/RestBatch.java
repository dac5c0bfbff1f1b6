package orlop.pod;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.ModelInferRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import orlop.pod.RestItems.Item;

/**
 * Runs items through a model that declares a {@link RestTask}: items of equal length go together in
 * one call, so nothing is ever padded; calls follow one another. One per request.
 */
final class RestBatch {
  /** For what a call says beside its rows: names, datatypes and shapes. */
  private static final int HEAD_BYTES = 4_096;

  private final RestCalls calls;
  private final RestRequest request;
  private final String name;
  private final RestTask task;
  private final ModelMetadataResponse signature;

  RestBatch(
      RestCalls calls,
      RestRequest request,
      String name,
      RestTask task,
      ModelMetadataResponse signature) {
    this.calls = calls;
    this.request = request;
    this.name = name;
    this.task = task;
    this.signature = signature;
  }

  /** The datatype of an input; of the only one when no name is given. */
  RestType type(String input, String role) throws RestError {
    RestType type = RestType.of(input(input, role).getDatatype());
    if (type == null) {
      throw wrong("input '" + input + "' is of an unknown datatype");
    }
    return type;
  }

  private TensorMetadata input(String input, String role) throws RestError {
    List<TensorMetadata> inputs = signature.getInputsList();
    if (input.isEmpty() && inputs.size() == 1) {
      return inputs.getFirst();
    }
    for (TensorMetadata one : inputs) {
      if (one.getName().equals(input)) {
        return one;
      }
    }
    throw wrong(
        "its key names '%s' as %s, its inputs are %s"
            .formatted(input, role, inputs.stream().map(TensorMetadata::getName).toList()));
  }

  /** The declaration does not fit the model, which its owner must put right. */
  private RestError wrong(String what) {
    return new RestError(500, "model '" + name + "' cannot do its task: " + what);
  }

  /** A vector for each item. */
  float[][] vectors(RestItems items) throws RestError {
    float[][] vectors = new float[items.items().size()][];
    TensorMetadata input = input(task.input(), "input");
    for (List<Integer> rows : groups(items, input, 0)) {
      ModelInferRequest.Builder call = ModelInferRequest.newBuilder();
      List<ByteString> raw = new ArrayList<>();
      rows.forEach(row -> raw.add(items.items().get(row).raw()));
      int width = items.items().get(rows.getFirst()).elements();
      add(call, input, rows.size(), width, ByteString.copyFrom(raw));
      addFilled(call, rows.size(), width);
      float[][] part = pooled(run(call), rows.size());
      for (int i = 0; i < part.length; i++) {
        vectors[rows.get(i)] = part[i];
      }
    }
    return vectors;
  }

  /** A score for each document. */
  double[] scores(Item query, RestItems documents) throws RestError {
    double[] scores = new double[documents.items().size()];
    boolean apart = !task.query().isEmpty();
    TensorMetadata input = input(apart ? task.document() : task.input(), "document");
    for (List<Integer> rows : groups(documents, input, bytes(query))) {
      ModelInferRequest.Builder call = ModelInferRequest.newBuilder();
      int n = rows.size();
      int width = documents.items().get(rows.getFirst()).elements();
      List<ByteString> queries = new ArrayList<>(n);
      List<ByteString> raw = new ArrayList<>(n);
      for (int row : rows) {
        ByteString document = documents.items().get(row).raw();
        queries.add(query.raw());
        raw.add(apart ? document : query.raw().concat(document));
      }
      if (apart) {
        add(call, input(task.query(), "query"), n, query.elements(), ByteString.copyFrom(queries));
        add(call, input, n, width, ByteString.copyFrom(raw));
        addFilled(call, n, width);
      } else {
        add(call, input, n, query.elements() + width, ByteString.copyFrom(raw));
        addFilled(call, n, query.elements() + width);
      }
      RestTensor output = run(call);
      if (RestElements.elements(output.shape()) != n) {
        throw wrong("output '" + output.name() + "' does not hold one score for each document");
      }
      for (int row : rows) {
        scores[row] = finite(output);
      }
    }
    return scores;
  }

  /**
   * Rows of equal length, in portions as large as the model and the protocol take.
   *
   * @param beside bytes that go along with each row
   */
  private List<List<Integer>> groups(RestItems items, TensorMetadata input, long beside) {
    Map<Integer, List<Integer>> byLength = new LinkedHashMap<>();
    for (int i = 0; i < items.items().size(); i++) {
      byLength.computeIfAbsent(items.items().get(i).elements(), length -> new ArrayList<>()).add(i);
    }
    long fixed = input.getShapeCount() == 0 ? -1 : input.getShape(0);
    int most = fixed > 0 ? (int) Math.min(fixed, Integer.MAX_VALUE) : Integer.MAX_VALUE;
    List<List<Integer>> groups = new ArrayList<>();
    for (List<Integer> rows : byLength.values()) {
      int from = 0;
      long bytes = HEAD_BYTES;
      for (int i = 0; i < rows.size(); i++) {
        long row = bytes(items.items().get(rows.get(i))) + beside;
        if (i > from && (i - from == most || bytes + row > calls.mostBytes())) {
          groups.add(rows.subList(from, i));
          from = i;
          bytes = HEAD_BYTES;
        }
        bytes += row;
      }
      groups.add(rows.subList(from, rows.size()));
    }
    return groups;
  }

  /** With what mask and types take for it. */
  private static long bytes(Item item) {
    return item.raw().size() + 16L * item.elements();
  }

  private static void add(
      ModelInferRequest.Builder call, TensorMetadata input, int rows, int width, ByteString raw) {
    var tensor =
        ModelInferRequest.InferInputTensor.newBuilder()
            .setName(input.getName())
            .setDatatype(input.getDatatype())
            .addShape(rows);
    // A tensor of one text for each row may be a plain list.
    if (width > 1 || input.getShapeCount() != 1) {
      tensor.addShape(width);
    }
    call.addInputs(tensor).addRawInputContents(raw);
  }

  private void addFilled(ModelInferRequest.Builder call, int rows, int width) throws RestError {
    if (!task.mask().isEmpty()) {
      filled(call, task.mask(), rows, width, 1);
    }
    if (!task.types().isEmpty()) {
      filled(call, task.types(), rows, width, 0);
    }
  }

  private void filled(ModelInferRequest.Builder call, String tensor, int rows, int width, int value)
      throws RestError {
    TensorMetadata input = input(tensor, "mask or types");
    RestType type = type(tensor, "mask or types");
    if (type != RestType.INT64 && type != RestType.INT32) {
      throw wrong("input '" + tensor + "' is " + type + ", expected INT64 or INT32");
    }
    byte[] bytes = new byte[Math.multiplyExact(Math.multiplyExact(rows, width), type.width)];
    for (int i = 0; i < bytes.length; i += type.width) {
      bytes[i] = (byte) value;
    }
    add(call, input, rows, width, UnsafeByteOperations.unsafeWrap(bytes));
  }

  private RestTensor run(ModelInferRequest.Builder call) throws RestError {
    call.setModelName(name);
    if (!task.output().isEmpty()) {
      call.addOutputs(
          ModelInferRequest.InferRequestedOutputTensor.newBuilder().setName(task.output()));
    }
    List<RestTensor> outputs =
        RestTensor.of(calls.infer(request, name, calls.encoded(call.build())));
    for (RestTensor output : outputs) {
      if (task.output().isEmpty() || output.name().equals(task.output())) {
        return switch (output.type()) {
          case FP16, BF16, FP32, FP64 -> output;
          default -> throw wrong("output '" + output.name() + "' is " + output.type());
        };
      }
    }
    throw wrong("it gave no output '" + task.output() + "'");
  }

  private double finite(RestTensor output) throws RestError {
    double value = output.real();
    if (!Double.isFinite(value)) {
      throw new RestError(500, "model '" + name + "' gave a value that is no finite number");
    }
    return value;
  }

  /** Rows of vectors, or of one vector for each token, as one vector for each row. */
  private float[][] pooled(RestTensor output, int rows) throws RestError {
    long[] shape = output.shape();
    boolean fits = (shape.length == 2 || shape.length == 3) && shape[0] == rows;
    if (!fits) {
      throw wrong("output '" + output.name() + "' does not hold a row for each input");
    }
    int tokens = shape.length == 3 ? (int) shape[1] : 1;
    int width = (int) shape[shape.length - 1];
    boolean first = task.pooling().equals("first");
    if (tokens == 0 || (!first && !task.pooling().equals("mean"))) {
      throw wrong("its pooling is '" + task.pooling() + "', expected mean or first");
    }
    float[][] vectors = new float[rows][width];
    double[] sum = new double[width];
    for (int row = 0; row < rows; row++) {
      java.util.Arrays.fill(sum, 0);
      for (int token = 0; token < tokens; token++) {
        for (int i = 0; i < width; i++) {
          double value = finite(output);
          sum[i] += first && token > 0 ? 0 : value;
        }
      }
      double squares = 0;
      for (double value : sum) {
        squares += value * value;
      }
      double divisor =
          task.normalize() ? (squares == 0 ? 1 : Math.sqrt(squares)) : first ? 1 : tokens;
      for (int i = 0; i < width; i++) {
        vectors[row][i] = (float) (sum[i] / divisor);
      }
    }
    return vectors;
  }
}
