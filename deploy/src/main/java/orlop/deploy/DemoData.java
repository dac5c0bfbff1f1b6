package orlop.deploy;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * The public datasets of {@code deploy/demo/data}, from the class path, split once and for all into
 * rows to train on and rows held out. Their README names sources and licences.
 */
final class DemoData {
  /** Every dataset's name is also its file's: {@code <name>.csv}. */
  static final List<String> NAMES = List.of("breast_cancer", "digits", "iris", "wine");

  private static final int HELD_OUT_PERCENT = 30;
  private static final long SPLIT_SEED = 20260901;

  private DemoData() {}

  /**
   * Labelled rows.
   *
   * @param rows row × feature, as measured (nothing scaled)
   * @param labels per row an index into the dataset's classes
   */
  record Rows(float[][] rows, int[] labels) {
    int count() {
      return rows.length;
    }
  }

  /**
   * @param features the column names, in the order of a row's values
   * @param classes the labels, sorted
   * @param train rows that models are trained on
   * @param heldOut rows that no model has seen, {@value #HELD_OUT_PERCENT} % of each class
   */
  record Dataset(
      String name, List<String> features, List<String> classes, Rows train, Rows heldOut) {
    Dataset {
      features = List.copyOf(features);
      classes = List.copyOf(classes);
    }
  }

  /** All datasets, in the order of {@link #NAMES}. */
  static List<Dataset> load() throws IOException {
    var all = new ArrayList<Dataset>();
    for (String name : NAMES) {
      all.add(load(name));
    }
    return List.copyOf(all);
  }

  /**
   * @throws IOException when the file is absent or a line has other than one number per feature and
   *     a label; the message names the line
   */
  static Dataset load(String name) throws IOException {
    List<String> features;
    var values = new ArrayList<float[]>();
    var labels = new ArrayList<String>();
    try (var in = new BufferedReader(new InputStreamReader(open(name), StandardCharsets.UTF_8))) {
      String header = in.readLine();
      if (header == null || !header.endsWith(",label")) {
        throw new IOException(
            name + ".csv line 1: expected a header that ends in ',label', got: " + header);
      }
      List<String> names = List.of(header.split(",", -1));
      features = names.subList(0, names.size() - 1);
      String line;
      for (int at = 2; (line = in.readLine()) != null; at++) {
        String[] cells = line.split(",", -1);
        if (cells.length != names.size()) {
          throw new IOException(
              name
                  + ".csv line "
                  + at
                  + ": expected "
                  + names.size()
                  + " cells, got "
                  + cells.length);
        }
        values.add(numbers(name, at, cells));
        labels.add(cells[cells.length - 1]);
      }
    }
    return split(name, features, values, labels);
  }

  /** The bytes of a dataset's file. */
  static byte[] bytes(String name) throws IOException {
    try (InputStream in = open(name)) {
      return in.readAllBytes();
    }
  }

  private static InputStream open(String name) throws IOException {
    String path = "data/" + name + ".csv";
    InputStream in = DemoData.class.getResourceAsStream(path);
    if (in == null) {
      throw new IOException(
          "dataset '" + name + "' is not on the class path (expected one of " + NAMES + ")");
    }
    return in;
  }

  private static float[] numbers(String name, int line, String[] cells) throws IOException {
    var row = new float[cells.length - 1];
    for (int i = 0; i < row.length; i++) {
      try {
        row[i] = Float.parseFloat(cells[i]);
      } catch (NumberFormatException e) {
        throw new IOException(
            name
                + ".csv line "
                + line
                + " column "
                + (i + 1)
                + ": expected a number, got '"
                + cells[i]
                + "'",
            e);
      }
    }
    return row;
  }

  /** Shuffles each class with a fixed seed and holds out its first {@value #HELD_OUT_PERCENT} %. */
  private static Dataset split(
      String name, List<String> features, List<float[]> values, List<String> labels) {
    List<String> classes = List.copyOf(new TreeSet<>(labels));
    var train = new ArrayList<Integer>();
    var heldOut = new ArrayList<Integer>();
    var random = random(SPLIT_SEED);
    for (String label : classes) {
      var members = new ArrayList<Integer>();
      for (int i = 0; i < labels.size(); i++) {
        if (labels.get(i).equals(label)) {
          members.add(i);
        }
      }
      Collections.shuffle(members, random);
      int cut = members.size() * HELD_OUT_PERCENT / 100;
      heldOut.addAll(members.subList(0, cut));
      train.addAll(members.subList(cut, members.size()));
    }
    // Otherwise the held-out rows would come class by class, which no traffic does.
    Collections.shuffle(heldOut, random);
    Collections.shuffle(train, random);
    return new Dataset(
        name,
        features,
        classes,
        rows(train, values, labels, classes),
        rows(heldOut, values, labels, classes));
  }

  private static Rows rows(
      List<Integer> chosen, List<float[]> values, List<String> labels, List<String> classes) {
    var rows = new float[chosen.size()][];
    var indices = new int[chosen.size()];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = values.get(chosen.get(i));
      indices[i] = classes.indexOf(labels.get(chosen.get(i)));
    }
    return new Rows(rows, indices);
  }

  /** The one generator of the demo, named so that every Java release gives the same numbers. */
  static RandomGenerator random(long seed) {
    return RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
  }
}
