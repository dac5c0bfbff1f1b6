package orlop.runtime;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.WireFormat;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the structure of an ONNX file tells without loading it: how much it will weigh, and which
 * inputs leave their rank open (the Java API shows those like scalars). Weights are skipped, so
 * reading costs as much as the graph is big, not as the file is.
 *
 * @param path the file itself
 * @param fileBytes its length
 * @param inFileWeightBytes initializers and constants in the file
 * @param externalWeightBytes initializers in the files it refers to
 * @param nodes operators of the main graph
 * @param unranked names of the inputs and outputs without a declared shape
 */
record OnnxFile(
    Path path,
    long fileBytes,
    long inFileWeightBytes,
    long externalWeightBytes,
    int nodes,
    Set<String> unranked) {

  // Field numbers of onnx.proto.
  private static final int MODEL_GRAPH = 7;
  private static final int GRAPH_NODE = 1;
  private static final int GRAPH_INITIALIZER = 5;
  private static final int GRAPH_INPUT = 11;
  private static final int GRAPH_OUTPUT = 12;
  private static final int NODE_ATTRIBUTE = 5;
  private static final int ATTRIBUTE_TENSOR = 5;
  private static final int TENSOR_EXTERNAL_DATA = 13;
  private static final int ENTRY_KEY = 1;
  private static final int ENTRY_VALUE = 2;
  private static final int VALUE_NAME = 1;
  private static final int VALUE_TYPE = 2;
  private static final int TYPE_TENSOR = 1;
  private static final int TENSOR_TYPE_SHAPE = 2;

  private static final int MAX_SEARCH_DEPTH = 3;
  private static final String SUFFIX = ".onnx";

  /*
   * Resident size of a session with this package's options, fitted to measured resident sizes
   * (DESIGN.md has the table).
   */
  private static final long SESSION_BYTES = 32_000;
  private static final long NODE_BYTES = 4_700;
  private static final double STRUCTURE_FACTOR = 4.5;
  private static final int FEW_NODES = 5;

  /**
   * Finds the model file and reads its structure.
   *
   * @throws NoSuchFileException when there is nothing at the path, or no model in the directory
   * @throws InvalidProtocolBufferException when the file is not an ONNX model, or the directory
   *     holds several
   */
  static OnnxFile read(Path modelPath) throws IOException {
    Path file = locate(modelPath);
    Reader reader = new Reader();
    long fileBytes = Files.size(file);
    try (InputStream in = Files.newInputStream(file)) {
      reader.readModel(CodedInputStream.newInstance(in));
    } catch (InvalidProtocolBufferException e) {
      throw notAModel(file, fileBytes, e.getMessage());
    }
    if (!reader.sawGraph) {
      throw notAModel(file, fileBytes, "it holds no graph");
    }
    return new OnnxFile(
        file,
        fileBytes,
        reader.weightBytes,
        reader.externalBytes,
        reader.nodes,
        Set.copyOf(reader.unranked));
  }

  /** Estimated resident bytes of the loaded model. */
  long residentBytes() {
    // Mostly the lists of tree ensembles, which become node tables several times their size.
    long structureBytes = fileBytes - inFileWeightBytes;
    return SESSION_BYTES
        + NODE_BYTES * nodes
        + (long) (STRUCTURE_FACTOR * structureBytes)
        + inFileWeightBytes
        + externalWeightBytes;
  }

  /** What a model of that length weighs when most of it are weights, as in nearly all. */
  static long guessResidentBytes(long fileBytes) {
    return SESSION_BYTES + FEW_NODES * NODE_BYTES + fileBytes;
  }

  private static InvalidProtocolBufferException notAModel(
      Path file, long fileBytes, @Nullable String why) {
    return new InvalidProtocolBufferException(
        file + " (" + fileBytes + " bytes) is not an ONNX model: " + why);
  }

  private static Path locate(Path modelPath) throws IOException {
    if (Files.isRegularFile(modelPath)) {
      return modelPath;
    }
    if (!Files.isDirectory(modelPath)) {
      throw new NoSuchFileException(modelPath.toString(), null, "no such file or directory");
    }
    Path usual = modelPath.resolve("model" + SUFFIX);
    if (Files.isRegularFile(usual)) {
      return usual;
    }
    List<Path> found;
    try (Stream<Path> walk = Files.walk(modelPath, MAX_SEARCH_DEPTH)) {
      found =
          walk.filter(p -> p.toString().endsWith(SUFFIX) && Files.isRegularFile(p))
              .sorted()
              .limit(4)
              .toList();
    }
    if (found.isEmpty()) {
      throw new NoSuchFileException(modelPath.toString(), null, "the directory holds no *.onnx");
    }
    if (found.size() > 1) {
      throw new InvalidProtocolBufferException(
          "the directory " + modelPath + " holds several models, expected one: " + found);
    }
    return found.getFirst();
  }

  /** The reason part of a file-system exception, which its message carries only now and then. */
  static String explain(FileSystemException e) {
    return e.getReason() == null ? e.getClass().getSimpleName() : e.getReason();
  }

  /** One pass over the file. */
  private static final class Reader {
    private final Set<String> unranked = new HashSet<>();
    private boolean sawGraph;
    private long weightBytes;
    private long externalBytes;
    private int nodes;

    /** What to do with one field; must consume it. */
    private interface FieldReader {
      void read(int tag) throws IOException;
    }

    void readModel(CodedInputStream in) throws IOException {
      in.setSizeLimit(Integer.MAX_VALUE);
      fields(
          in,
          tag -> {
            if (isMessage(tag, MODEL_GRAPH)) {
              sawGraph = true;
              message(in, t -> readGraphField(in, t));
            } else {
              skip(in, tag);
            }
          });
    }

    private void readGraphField(CodedInputStream in, int tag) throws IOException {
      if (isMessage(tag, GRAPH_NODE)) {
        nodes++;
        message(in, t -> readNodeField(in, t));
      } else if (isMessage(tag, GRAPH_INITIALIZER)) {
        readTensor(in);
      } else if (isMessage(tag, GRAPH_INPUT) || isMessage(tag, GRAPH_OUTPUT)) {
        readValue(in);
      } else {
        skip(in, tag);
      }
    }

    private void readNodeField(CodedInputStream in, int tag) throws IOException {
      if (!isMessage(tag, NODE_ATTRIBUTE)) {
        skip(in, tag);
        return;
      }
      message(
          in,
          t -> {
            if (isMessage(t, ATTRIBUTE_TENSOR)) {
              readTensor(in);
            } else {
              skip(in, t);
            }
          });
    }

    private void readTensor(CodedInputStream in) throws IOException {
      int before = in.getTotalBytesRead();
      message(in, t -> readTensorField(in, t));
      weightBytes += in.getTotalBytesRead() - before;
    }

    private void readTensorField(CodedInputStream in, int tag) throws IOException {
      if (!isMessage(tag, TENSOR_EXTERNAL_DATA)) {
        skip(in, tag);
        return;
      }
      String[] entry = {"", ""};
      message(
          in,
          t -> {
            if (isMessage(t, ENTRY_KEY)) {
              entry[0] = in.readString();
            } else if (isMessage(t, ENTRY_VALUE)) {
              entry[1] = in.readString();
            } else {
              skip(in, t);
            }
          });
      if (entry[0].equals("location")) {
        requireInside(entry[1]);
      } else if (entry[0].equals("length")) {
        try {
          externalBytes += Math.max(0, Long.parseLong(entry[1]));
        } catch (NumberFormatException e) {
          throw new InvalidProtocolBufferException(
              "external data of an initializer has the length '" + entry[1] + "'");
        }
      }
    }

    /** A model may come from anywhere, and must not read the files of its host. */
    private static void requireInside(String location) throws InvalidProtocolBufferException {
      Path path;
      try {
        path = Path.of(location).normalize();
      } catch (InvalidPathException e) {
        throw new InvalidProtocolBufferException("external data at '" + location + "'");
      }
      if (path.isAbsolute() || path.startsWith("..")) {
        throw new InvalidProtocolBufferException(
            "external data at '" + location + "', expected a path inside the model's directory");
      }
    }

    private void readValue(CodedInputStream in) throws IOException {
      String[] name = {""};
      boolean[] tensorWithoutShape = {false};
      message(
          in,
          tag -> {
            if (isMessage(tag, VALUE_NAME)) {
              name[0] = in.readString();
            } else if (isMessage(tag, VALUE_TYPE)) {
              message(
                  in,
                  t -> {
                    if (isMessage(t, TYPE_TENSOR)) {
                      tensorWithoutShape[0] = !readHasShape(in);
                    } else {
                      skip(in, t);
                    }
                  });
            } else {
              skip(in, tag);
            }
          });
      if (tensorWithoutShape[0]) {
        unranked.add(name[0]);
      }
    }

    private static boolean readHasShape(CodedInputStream in) throws IOException {
      boolean[] has = {false};
      message(
          in,
          tag -> {
            has[0] |= isMessage(tag, TENSOR_TYPE_SHAPE);
            skip(in, tag);
          });
      return has[0];
    }

    private static boolean isMessage(int tag, int field) {
      return WireFormat.getTagFieldNumber(tag) == field
          && WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_LENGTH_DELIMITED;
    }

    private static void message(CodedInputStream in, FieldReader reader) throws IOException {
      int outer = in.pushLimit(in.readRawVarint32());
      fields(in, reader);
      in.popLimit(outer);
    }

    private static void fields(CodedInputStream in, FieldReader reader) throws IOException {
      for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
        reader.read(tag);
      }
    }

    private static void skip(CodedInputStream in, int tag) throws IOException {
      if (!in.skipField(tag)) {
        throw new InvalidProtocolBufferException("a group ends that never began");
      }
    }
  }
}
