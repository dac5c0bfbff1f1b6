package orlop.deploy;

import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;
import org.tribuo.Example;
import org.tribuo.MutableDataset;
import org.tribuo.classification.Label;
import org.tribuo.classification.LabelFactory;
import org.tribuo.classification.sgd.linear.LinearSGDModel;
import org.tribuo.classification.sgd.linear.LinearSGDTrainer;
import org.tribuo.classification.sgd.objectives.LogMulticlass;
import org.tribuo.impl.ArrayExample;
import org.tribuo.math.optimisers.AdaGrad;
import org.tribuo.provenance.SimpleDataSourceProvenance;

/**
 * Trains one demo model: a bootstrap sample of the training rows, multinomial logistic regression
 * on standardised features (Tribuo), exported as ONNX with the standardisation in the graph.
 *
 * <p>Deterministic: recipe and data fix every byte. The same float operations standardise a row
 * here and in the graph, so both see equal features; what remains is the rounding of one matrix
 * product, and a model that decides any held-out row by less than {@value #MIN_MARGIN} of
 * probability is trained again on another sample. So the exported model's labels equal the
 * trainer's on any machine.
 *
 * <p>Holds no state between calls; calls may run side by side.
 */
final class DemoTrainer {
  /** Changes whenever what this class makes changes; part of the cache's key. */
  static final int VERSION = 1;

  private static final double MIN_MARGIN = 1e-3;
  private static final int SAMPLES = 50;
  private static final int EPOCHS = 8;
  private static final int MINIBATCH = 4;
  private static final double LEARNING_RATE = 0.2;
  private static final String STANDARDISED = "standardised";

  /** Tribuo orders features by name; padded numbers keep the order of the columns. */
  private static final String[] NAMES =
      IntStream.range(0, 1000).mapToObj("f%03d"::formatted).toArray(String[]::new);

  private static final LabelFactory LABELS = new LabelFactory();

  private DemoTrainer() {}

  /** A trained model; the arrays have one entry for each held-out row, as in {@link DemoModel}. */
  record Trained(
      byte[] onnx, List<String> classes, double accuracy, int[] truth, int[] predicted) {}

  /**
   * @throws IllegalStateException when no sample gives a model that is sure enough of every
   *     held-out row
   */
  static Trained train(DemoRecipe recipe, DemoData.Dataset dataset) {
    Scale scale = Scale.of(dataset.train().rows(), recipe.columns());
    long seed = seed(recipe.id());
    for (int sample = 0; sample < SAMPLES; sample++) {
      LinearSGDModel model = fit(recipe, dataset, scale, seed + sample);
      if (model.getOutputIDInfo().size() < classCount(recipe, dataset)) {
        continue; // the sample missed a class
      }
      Trained trained = judge(recipe, dataset, scale, model);
      if (trained != null) {
        return trained;
      }
    }
    throw new IllegalStateException(
        "demo model "
            + recipe.id()
            + " was unsure of a held-out row on each of "
            + SAMPLES
            + " samples");
  }

  private static LinearSGDModel fit(
      DemoRecipe recipe, DemoData.Dataset dataset, Scale scale, long seed) {
    var random = DemoData.random(seed);
    var rows = dataset.train();
    var examples = new ArrayList<Example<Label>>(rows.count());
    for (int i = 0; i < rows.count(); i++) {
      int chosen = random.nextInt(rows.count());
      String label = label(recipe, dataset, rows.labels()[chosen]);
      examples.add(example(label, scale.apply(rows.rows()[chosen])));
    }
    var provenance = new SimpleDataSourceProvenance(recipe.id(), LABELS);
    var sample = new MutableDataset<>(examples, provenance, LABELS);
    var trainer =
        new LinearSGDTrainer(
            new LogMulticlass(), new AdaGrad(LEARNING_RATE), EPOCHS, -1, MINIBATCH, seed);
    return trainer.train(sample);
  }

  /** Predicts the held-out rows; null when one of them is a near tie. */
  private static @Nullable Trained judge(
      DemoRecipe recipe, DemoData.Dataset dataset, Scale scale, LinearSGDModel model) {
    var info = model.getOutputIDInfo();
    var classes = new ArrayList<String>();
    for (int id = 0; id < info.size(); id++) {
      classes.add(info.getOutput(id).getLabel());
    }
    var rows = dataset.heldOut();
    var truth = new int[rows.count()];
    var predicted = new int[rows.count()];
    int right = 0;
    for (int i = 0; i < rows.count(); i++) {
      var prediction = model.predict(example(classes.getFirst(), scale.apply(rows.rows()[i])));
      var scores = prediction.getOutputScores();
      double first = Double.NEGATIVE_INFINITY;
      double second = Double.NEGATIVE_INFINITY;
      for (Label label : scores.values()) {
        second = Math.max(second, Math.min(first, label.getScore()));
        first = Math.max(first, label.getScore());
      }
      if (first - second < MIN_MARGIN) {
        return null;
      }
      truth[i] = classes.indexOf(label(recipe, dataset, rows.labels()[i]));
      predicted[i] = classes.indexOf(prediction.getOutput().getLabel());
      right += truth[i] == predicted[i] ? 1 : 0;
    }
    return new Trained(
        export(recipe, scale, model),
        List.copyOf(classes),
        (double) right / rows.count(),
        truth,
        predicted);
  }

  private static String label(DemoRecipe recipe, DemoData.Dataset dataset, int index) {
    String label = dataset.classes().get(index);
    String only = recipe.only();
    return only == null || only.equals(label) ? label : "not_" + only;
  }

  private static int classCount(DemoRecipe recipe, DemoData.Dataset dataset) {
    return recipe.only() == null ? dataset.classes().size() : 2;
  }

  private static Example<Label> example(String label, float[] standardised) {
    var values = new double[standardised.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = standardised[i];
    }
    return new ArrayExample<>(new Label(label), Arrays.copyOf(NAMES, values.length), values);
  }

  /** Tribuo's graph with {@code (input - mean) / deviation} before it, and without dates in it. */
  private static byte[] export(DemoRecipe recipe, Scale scale, LinearSGDModel model) {
    ModelProto tribuo = model.exportONNXModel("orlop.demo", VERSION);
    GraphProto.Builder graph = tribuo.getGraph().toBuilder();
    for (NodeProto.Builder node : graph.getNodeBuilderList()) {
      for (int i = 0; i < node.getInputCount(); i++) {
        if (node.getInput(i).equals(DemoModel.INPUT)) {
          node.setInput(i, STANDARDISED);
        }
      }
    }
    graph.addNode(0, node("Sub", DemoModel.INPUT, "mean", "centred"));
    graph.addNode(1, node("Div", "centred", "deviation", STANDARDISED));
    graph.addInitializer(tensor("mean", scale.mean()));
    graph.addInitializer(tensor("deviation", scale.deviation()));
    graph.setName(recipe.id()).clearDocString();
    return tribuo.toBuilder()
        .clearMetadataProps()
        .clearDocString()
        .setGraph(graph)
        .build()
        .toByteArray();
  }

  private static NodeProto node(String operator, String left, String right, String output) {
    return NodeProto.newBuilder()
        .setName(output)
        .setOpType(operator)
        .addInput(left)
        .addInput(right)
        .addOutput(output)
        .build();
  }

  private static TensorProto tensor(String name, float[] values) {
    var tensor =
        TensorProto.newBuilder()
            .setName(name)
            .setDataType(TensorProto.DataType.FLOAT.getNumber())
            .addDims(values.length);
    for (float value : values) {
      tensor.addFloatData(value);
    }
    return tensor.build();
  }

  private static long seed(String id) {
    var crc = new CRC32();
    crc.update(id.getBytes(StandardCharsets.UTF_8));
    return crc.getValue() << 8; // the low bits count the samples
  }

  /** Mean and standard deviation of chosen columns; a constant column keeps deviation 1. */
  private record Scale(List<Integer> columns, float[] mean, float[] deviation) {
    static Scale of(float[][] rows, List<Integer> columns) {
      var mean = new float[columns.size()];
      var deviation = new float[columns.size()];
      for (int i = 0; i < mean.length; i++) {
        int column = columns.get(i);
        double sum = 0;
        for (float[] row : rows) {
          sum += row[column];
        }
        double average = sum / rows.length;
        double squares = 0;
        for (float[] row : rows) {
          squares += (row[column] - average) * (row[column] - average);
        }
        double spread = Math.sqrt(squares / rows.length);
        mean[i] = (float) average;
        deviation[i] = spread > 0 ? (float) spread : 1;
      }
      return new Scale(columns, mean, deviation);
    }

    /** In float, operation by operation as the exported graph does it. */
    float[] apply(float[] row) {
      var out = new float[mean.length];
      for (int i = 0; i < out.length; i++) {
        out[i] = (row[columns.get(i)] - mean[i]) / deviation[i];
      }
      return out;
    }
  }
}
