package orlop.deploy;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What one demo model is trained to do: which dataset, which of its columns, and either all classes
 * or one against the rest. The bag number only makes it see other rows.
 *
 * @param id names the recipe; the seed follows from it
 * @param only the class told from the rest, or null for all classes
 */
record DemoRecipe(String id, String dataset, List<Integer> columns, @Nullable String only) {
  DemoRecipe {
    columns = List.copyOf(columns);
  }

  /**
   * All models of the demo: 120 + 20 on digits, 24 + 16 on breast cancer, 18 + 12 on wine, 9 + 11
   * on iris.
   */
  static List<DemoRecipe> all(List<DemoData.Dataset> datasets) {
    var all = new ArrayList<DemoRecipe>();
    for (var dataset : datasets) {
      List<Integer> columns = IntStream.range(0, dataset.features().size()).boxed().toList();
      switch (dataset.name()) {
        case "digits" -> {
          oneAgainstRest(all, dataset, columns, 12);
          bags(all, dataset.name() + "-all", dataset.name(), columns, null, 20);
        }
        case "breast_cancer" -> {
          // Three segments of ten columns: means, standard errors, worst values.
          List<String> segments = List.of("mean", "error", "worst");
          for (int i = 0; i < segments.size(); i++) {
            bags(
                all,
                "cancer-" + segments.get(i),
                dataset.name(),
                columns.subList(10 * i, 10 * i + 10),
                null,
                8);
          }
          bags(all, "cancer-all", dataset.name(), columns, null, 16);
        }
        case "wine" -> {
          oneAgainstRest(all, dataset, columns, 6);
          bags(all, "wine-all", dataset.name(), columns, null, 12);
        }
        case "iris" -> {
          oneAgainstRest(all, dataset, columns, 3);
          bags(all, "iris-all", dataset.name(), columns, null, 11);
        }
        default -> throw new IllegalStateException("no recipe for dataset " + dataset.name());
      }
    }
    return List.copyOf(all);
  }

  private static void oneAgainstRest(
      List<DemoRecipe> all, DemoData.Dataset dataset, List<Integer> columns, int bags) {
    for (String label : dataset.classes()) {
      String stem = dataset.name() + "-is-" + label.replace('_', '-');
      bags(all, stem, dataset.name(), columns, label, bags);
    }
  }

  private static void bags(
      List<DemoRecipe> all,
      String stem,
      String dataset,
      List<Integer> columns,
      @Nullable String only,
      int bags) {
    for (int bag = 0; bag < bags; bag++) {
      all.add(new DemoRecipe(stem + "-bag%02d".formatted(bag), dataset, columns, only));
    }
  }
}
