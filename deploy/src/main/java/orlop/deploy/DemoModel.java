package orlop.deploy;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * A model that the demo trained, as an ONNX file, and what its trainer knows about it.
 *
 * <p>The graph takes {@code float[-1, features]} named {@link #INPUT}, raw measurements (it scales
 * them itself), and gives {@code float[-1, classes]} named {@link #OUTPUT}, probabilities in the
 * order of {@link #classes}.
 *
 * @param id unique, fit for a key and for a path
 * @param dataset the {@link DemoData.Dataset} that it was trained on
 * @param file the ONNX file
 * @param columns which of the dataset's columns are its features, in the order of its input
 * @param classes its labels, in the order of its output
 * @param accuracy the share of the held-out rows that the trainer's own model predicts right
 * @param heldOutTruth for each held-out row of the dataset the right label, as an index into
 *     classes
 * @param heldOutPredicted for each held-out row what the trainer's own model predicts
 */
record DemoModel(
    String id,
    String dataset,
    Path file,
    int[] columns,
    List<String> classes,
    double accuracy,
    int[] heldOutTruth,
    int[] heldOutPredicted) {
  static final String INPUT = "input";
  static final String OUTPUT = "output";

  DemoModel {
    classes = List.copyOf(classes);
  }

  /** How many values a row of its input has. */
  int features() {
    return columns.length;
  }

  /** Picks this model's features out of a row of its dataset. */
  float[] inputOf(float[] row) {
    var input = new float[columns.length];
    for (int i = 0; i < columns.length; i++) {
      input[i] = row[columns[i]];
    }
    return input;
  }

  /** The index of the greatest score, the first of equals: how an output row becomes a label. */
  static int best(float[] scores) {
    int best = 0;
    for (int i = 1; i < scores.length; i++) {
      if (scores[i] > scores[best]) {
        best = i;
      }
    }
    return best;
  }

  @Override
  public String toString() {
    return id
        + " ("
        + dataset
        + ", "
        + columns.length
        + " features, "
        + classes
        + ", accuracy "
        + accuracy
        + ")";
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof DemoModel that
        && id.equals(that.id)
        && dataset.equals(that.dataset)
        && file.equals(that.file)
        && Arrays.equals(columns, that.columns)
        && classes.equals(that.classes)
        && accuracy == that.accuracy
        && Arrays.equals(heldOutTruth, that.heldOutTruth)
        && Arrays.equals(heldOutPredicted, that.heldOutPredicted);
  }

  @Override
  public int hashCode() {
    return id.hashCode();
  }
}
