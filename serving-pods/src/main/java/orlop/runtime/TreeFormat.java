package orlop.runtime;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The formats of tree models: which files hold them, and what reads them. */
enum TreeFormat {
  XGBOOST(List.of("ubj", "json", "bst", "xgb", "model")),
  LIGHTGBM(List.of("txt", "bst", "lgb", "model"));

  /** {@code folder/1/model.ubj} is the deepest layout in use. */
  private static final int MAX_SEARCH_DEPTH = 3;

  /** JSON files of model servers that may lie beside a model. */
  private static final Set<String> SETTINGS =
      Set.of("model-settings.json", "settings.json", "config.json", "metadata.json");

  /** Preferred first. */
  private final List<String> suffixes;

  TreeFormat(List<String> suffixes) {
    this.suffixes = suffixes;
  }

  /** The format of a type with or without version, as in {@code xgboost:2}; null when neither. */
  static @Nullable TreeFormat ofType(String modelType) {
    String type = modelType.toLowerCase(Locale.ROOT);
    for (TreeFormat format : values()) {
      String name = format.name().toLowerCase(Locale.ROOT);
      if (type.equals(name) || type.startsWith(name + ":")) {
        return format;
      }
    }
    return null;
  }

  /** Tells by the first bytes which format a file, or the one file in a directory, is of. */
  static TreeFormat ofFiles(Path modelPath) throws IOException {
    Path file;
    try {
      file = LIGHTGBM.locate(modelPath);
    } catch (NoSuchFileException e) {
      return XGBOOST;
    }
    try (var in = Files.newInputStream(file)) {
      String head = new String(in.readNBytes(5), StandardCharsets.ISO_8859_1);
      return head.strip().equals("tree") ? LIGHTGBM : XGBOOST;
    }
  }

  Ensemble read(Path file, boolean counting) throws IOException {
    return switch (this) {
      case XGBOOST -> XgboostFile.read(file, counting);
      case LIGHTGBM -> LightgbmFile.read(file, counting);
    };
  }

  /**
   * The model file: the path itself, or in a directory {@code model.*}, or else the only file with
   * a suffix of the format, down to {@code folder/1/}.
   *
   * @throws NoSuchFileException when there is none
   */
  Path locate(Path modelPath) throws IOException {
    if (Files.isRegularFile(modelPath)) {
      return modelPath;
    }
    if (!Files.isDirectory(modelPath)) {
      throw new NoSuchFileException(modelPath.toString(), null, "no such file or directory");
    }
    for (String suffix : suffixes) {
      Path usual = modelPath.resolve("model." + suffix);
      if (Files.isRegularFile(usual)) {
        return usual;
      }
    }
    List<Path> found;
    try (Stream<Path> walk = Files.walk(modelPath, MAX_SEARCH_DEPTH)) {
      found = walk.filter(this::isCandidate).sorted().limit(4).toList();
    }
    if (found.isEmpty()) {
      throw new NoSuchFileException(
          modelPath.toString(), null, "the directory holds no file that ends in " + suffixes);
    }
    if (found.size() > 1) {
      throw new MalformedModelException(
          modelPath, "", "the directory holds several models, expected one: " + found);
    }
    return found.getFirst();
  }

  private boolean isCandidate(Path path) {
    String name = String.valueOf(path.getFileName());
    int dot = name.lastIndexOf('.');
    return dot > 0
        && suffixes.contains(name.substring(dot + 1))
        && !SETTINGS.contains(name)
        && Files.isRegularFile(path);
  }
}
