package orlop.runtime;

import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongUnaryOperator;
import org.jspecify.annotations.Nullable;
import orlop.runtime.InferenceException.Code;

/**
 * An {@link Ensemble} behind V2. One input of rows; the output {@code predict} is what the
 * library's {@code Booster.predict} gives, in its type and shape. Classifiers add {@code
 * probabilities}, a column per class also when there are two, and {@code classes}. {@code margin}
 * is given when asked for.
 */
final class EnsembleModel implements LoadedModel {
  static final String INPUT = "input";
  private static final String PREDICT = "predict";
  private static final String PROBABILITIES = "probabilities";
  private static final String CLASSES = "classes";
  private static final String MARGIN = "margin";

  /** Names under which clients of KServe's servers and of Triton ask for {@link #PREDICT}. */
  private static final Set<String> ALIASES = Set.of("output-0", "output__0");

  private static final String FIRST = "iteration_begin";
  private static final String END = "iteration_end";

  /** Objects around the tables: model, signature, metadata. */
  private static final long OBJECT_BYTES = 4_000;

  private final Signature signature;
  private final TensorSpec margin;
  private final ModelMetadataResponse metadata;
  private final long sizeBytes;

  /** Null once closed, so that the memory goes even if somebody keeps this. */
  private volatile @Nullable Ensemble ensemble;

  private final LongUnaryOperator holding;
  private final AtomicBoolean closed = new AtomicBoolean();

  /**
   * @param holding is given minus the size when the model is closed
   */
  EnsembleModel(String modelId, String platform, Ensemble ensemble, LongUnaryOperator holding) {
    this.ensemble = ensemble;
    this.holding = holding;
    this.sizeBytes = residentBytes(ensemble);
    Objective objective = ensemble.objective();
    TensorType real = objective.single() ? TensorType.FP32 : TensorType.FP64;
    Map<String, TensorSpec> outputs = new LinkedHashMap<>();
    outputs.put(PREDICT, spec(PREDICT, real, objective.predictions(ensemble.outputs())));
    if (objective.classes() > 0) {
      long[] table = {-1, objective.classes()};
      outputs.put(PROBABILITIES, new TensorSpec(PROBABILITIES, real, table, true));
      outputs.put(CLASSES, spec(CLASSES, TensorType.INT64, 1));
    }
    long[] rows = {-1, ensemble.features()};
    TensorSpec input = new TensorSpec(INPUT, TensorType.FP32, rows, true);
    this.margin = spec(MARGIN, real, ensemble.outputs());
    this.signature = new Signature(modelId, Map.of(INPUT, input), outputs, Map.of());
    ModelMetadataResponse.Builder told =
        ModelMetadataResponse.newBuilder()
            .setName(modelId)
            .setPlatform(platform)
            .addInputs(input.metadata())
            .putAllProperties(ensemble.properties())
            .putProperties("orlop.output_on_request." + MARGIN, margin.toString());
    if (ensemble.iterations() > 0) {
      told.putProperties("orlop.iterations", Integer.toString(ensemble.iterations()));
    }
    outputs.values().forEach(output -> told.addOutputs(output.metadata()));
    this.metadata = told.build();
  }

  /** A column of numbers has no second dimension, as in the libraries. */
  private static TensorSpec spec(String name, TensorType type, int columns) {
    long[] shape = columns == 1 ? new long[] {-1} : new long[] {-1, columns};
    return new TensorSpec(name, type, shape, true);
  }

  static long residentBytes(Ensemble ensemble) {
    return OBJECT_BYTES + ensemble.sizeBytes();
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
  public boolean computesOnly() {
    return true;
  }

  @Override
  public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
      throws InferenceException {
    Ensemble model = ensemble;
    if (model == null) {
      throw new InferenceException(
          Code.INTERNAL, "model '" + signature.modelId() + "' is unloaded and runs no more");
    }
    try {
      return run(model, request, cancellation);
    } catch (OutOfMemoryError e) {
      String text = "model '" + signature.modelId() + "': no memory for the tensors: ";
      throw new InferenceException(Code.RESOURCE_EXHAUSTED, text + e.getMessage(), e);
    }
  }

  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      ensemble = null;
      long unused = holding.applyAsLong(-sizeBytes);
    }
  }

  private ModelInferResponse run(
      Ensemble model, ModelInferRequest request, Cancellation cancellation)
      throws InferenceException {
    List<TensorSpec> outputs = requestedOutputs(request);
    int from = iteration(request, FIRST, 0, model.iterations());
    int to = iteration(request, END, 0, model.iterations());
    // As in the library, an end of 0 means all.
    to = to == 0 ? model.iterations() : to;
    if (from > to) {
      throw signature.refuse(FIRST + " = " + from + ", expected at most " + END + " = " + to);
    }
    FeatureTensor input = input(request);
    int rows = input.rows();
    double[] margins = new double[length(rows, model)];
    if (cancellation.isCancelled()
        || rows > 0 && !model.margins(input, from, to, margins, cancellation)) {
      throw new InferenceException(
          Code.CANCELLED, "model '" + signature.modelId() + "': the inference was cancelled");
    }
    Answer answer = new Answer(model, margins, rows, to - from);
    ModelInferResponse.Builder response =
        ModelInferResponse.newBuilder()
            .setModelName(request.getModelName())
            .setModelVersion(request.getModelVersion())
            .setId(request.getId());
    boolean raw = request.getRawInputContentsCount() > 0;
    for (TensorSpec output : outputs) {
      answer.add(output, kind(output.name()), raw, response);
    }
    return response.build();
  }

  private int length(int rows, Ensemble model) throws InferenceException {
    int columns = Math.max(model.outputs(), model.objective().classes());
    long length = (long) rows * columns;
    if (length > Integer.MAX_VALUE / Double.BYTES) {
      throw new InferenceException(
          Code.TOO_LARGE,
          "model '"
              + signature.modelId()
              + "': "
              + rows
              + " rows of "
              + columns
              + " outputs, expected at most "
              + Integer.MAX_VALUE / Double.BYTES
              + " numbers");
    }
    return rows * model.outputs();
  }

  private static String kind(String name) {
    return ALIASES.contains(name) ? PREDICT : name;
  }

  private List<TensorSpec> requestedOutputs(ModelInferRequest request) throws InferenceException {
    if (request.getOutputsCount() == 0) {
      return List.copyOf(signature.outputs().values());
    }
    List<TensorSpec> specs = new ArrayList<>(request.getOutputsCount());
    Set<String> seen = new HashSet<>();
    for (InferRequestedOutputTensor requested : request.getOutputsList()) {
      String name = requested.getName();
      TensorSpec spec = name.equals(MARGIN) ? margin : signature.outputs().get(kind(name));
      if (spec == null) {
        throw signature.refuse(
            "no output '"
                + name
                + "', expected of "
                + Signature.list(signature.outputs().values())
                + ", "
                + margin);
      }
      if (!seen.add(name)) {
        throw signature.refuse("output '" + name + "' is requested twice, expected once");
      }
      specs.add(new TensorSpec(name, spec.type(), spec.shape(), true));
    }
    return specs;
  }

  private int iteration(ModelInferRequest request, String key, int otherwise, int iterations)
      throws InferenceException {
    InferParameter parameter = request.getParametersMap().get(key);
    if (parameter == null) {
      return otherwise;
    }
    long value = parameter.getInt64Param();
    if (!parameter.hasInt64Param() || value < 0 || value > iterations) {
      throw signature.refuse(
          "parameter "
              + key
              + " = "
              + (parameter.hasInt64Param() ? value : "no int64_param")
              + ", expected 0 to "
              + iterations);
    }
    return (int) value;
  }

  /** There is but one input, so it may have any name. */
  private FeatureTensor input(ModelInferRequest request) throws InferenceException {
    TensorSpec declared = signature.inputs().values().iterator().next();
    if (request.getInputsCount() != 1) {
      throw signature.refuse(
          request.getInputsCount() + " inputs, expected one: " + declared + ", a row per sample");
    }
    int raws = request.getRawInputContentsCount();
    if (raws > 1) {
      throw signature.refuse(
          "raw_input_contents has " + raws + " entries, expected one for each of the 1 inputs");
    }
    ByteString raw = raws == 1 ? request.getRawInputContents(0) : null;
    return FeatureTensor.of(signature, declared, request.getInputs(0), raw);
  }

  /** The outputs of one request, each computed when it is first asked for. */
  private static final class Answer {
    private final Ensemble model;
    private final double[] margins;
    private final double[] scores;
    private final int rows;
    private double @Nullable [] predictions;
    private double @Nullable [] probabilities;

    Answer(Ensemble model, double[] margins, int rows, int iterations) {
      this.model = model;
      this.margins = margins;
      this.scores =
          model.average() && iterations > 1
              ? Arrays.stream(margins).map(margin -> margin / iterations).toArray()
              : margins;
      this.rows = rows;
    }

    void add(TensorSpec spec, String kind, boolean raw, ModelInferResponse.Builder response) {
      switch (kind) {
        case MARGIN -> NumberTensors.add(spec, rows, margins, raw, response);
        case PREDICT -> NumberTensors.add(spec, rows, predictions(), raw, response);
        case PROBABILITIES -> NumberTensors.add(spec, rows, probabilities(), raw, response);
        case CLASSES -> {
          int classes = model.objective().classes();
          long[] best = Objective.classes(probabilities(), rows, classes);
          NumberTensors.add(spec, rows, best, raw, response);
        }
        default -> throw new IllegalStateException("no output " + kind);
      }
    }

    private double[] predictions() {
      double[] known = predictions;
      if (known == null) {
        known = model.objective().predict(scores, rows, model.outputs());
        predictions = known;
      }
      return known;
    }

    private double[] probabilities() {
      double[] known = probabilities;
      if (known == null) {
        known = model.objective().probabilities(scores, predictions(), rows, model.outputs());
        probabilities = known;
      }
      return known;
    }
  }
}
