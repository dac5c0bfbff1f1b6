package orlop.deploy;

import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import io.grpc.StatusRuntimeException;
import java.io.PrintWriter;
import java.nio.ByteOrder;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.StringJoiner;
import java.util.concurrent.Callable;
import mmesh.DeleteVModelRequest;
import mmesh.GetStatusRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.UnregisterModelRequest;
import mmesh.VModelStatusInfo;
import orlop.api.ExplainRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** The commands that talk to a running mesh over gRPC. */
final class ClientCommands {
  private ClientCommands() {}

  /** What they share: where the mesh is, and errors as one line. */
  abstract static class ClientCommand implements Callable<Integer> {
    @Mixin MeshClient.Target mesh = new MeshClient.Target();

    @Spec
    @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
    CommandSpec spec;

    abstract void run(MeshClient client, PrintWriter out);

    @Override
    public final Integer call() {
      try (MeshClient client = mesh.connect()) {
        try {
          run(client, spec.commandLine().getOut());
          return 0;
        } catch (StatusRuntimeException e) {
          throw client.explain(e);
        }
      }
    }
  }

  @Command(
      name = "register",
      mixinStandardHelpOptions = true,
      description = "Make a model known to the mesh. Nothing is loaded until a call asks for it.",
      footerHeading = "%nExample:%n",
      footer = "  ./orlop register fraud-7 --path s3://models/fraud/7 --load")
  static final class Register extends ClientCommand {
    @Parameters(paramLabel = "MODEL", description = "The model's id, unique in the mesh.")
    String id = "";

    @Option(
        names = "--type",
        defaultValue = "onnx",
        description = "Format: onnx, xgboost or lightgbm. Default: onnx.")
    String type = "onnx";

    @Option(
        names = "--path",
        required = true,
        description = "Where it lies: s3://bucket/prefix, file:/path, pvc://claim/path.")
    String path = "";

    @Option(names = "--key", defaultValue = "", description = "Storage reference, JSON.")
    String key = "";

    @Option(
        names = "--min-copies",
        paramLabel = "N",
        description = "Copies to keep loaded, called or not.")
    int minCopies;

    @Option(names = "--max-copies", paramLabel = "N", description = "Most copies to load.")
    int maxCopies;

    @Option(
        names = "--size",
        paramLabel = "BYTES",
        description = "Memory that it is expected to take; refused when no pod has as much.")
    long sizeBytes;

    @Option(names = "--pin", description = "Never evict the minimum of copies, one at least.")
    boolean pin;

    @Option(
        names = "--label",
        paramLabel = "LABEL",
        description = "Load it only in pods with this label. Repeatable.")
    List<String> labels = List.of();

    @Option(
        names = "--prefer-label",
        paramLabel = "LABEL",
        description = "Load it best in pods with this label. Repeatable.")
    List<String> preferred = List.of();

    @Option(names = "--load", description = "Load one copy now and wait for it.")
    boolean load;

    @Override
    void run(MeshClient client, PrintWriter out) {
      String key = ModelKey.with(this.key, minCopies, maxCopies, sizeBytes, pin, labels, preferred);
      ModelStatusInfo status =
          client
              .management()
              .registerModel(
                  RegisterModelRequest.newBuilder()
                      .setModelId(id)
                      .setModelInfo(ModelInfo.newBuilder().setType(type).setPath(path).setKey(key))
                      .setLoadNow(load)
                      .setSync(load)
                      .build());
      if (load && status.getStatus() == ModelStatusInfo.ModelStatus.LOADING_FAILED) {
        throw new CommandException(
            "model '%s' is registered and was not loaded: %s"
                .formatted(id, String.join("; ", status.getErrorsList())),
            "./orlop status " + id + " tells when it is tried again");
      }
      print(out, "model " + id, status, "");
    }
  }

  @Command(
      name = "unregister",
      mixinStandardHelpOptions = true,
      description = "Make the mesh forget a model and unload its copies.")
  static final class Unregister extends ClientCommand {
    @Parameters(paramLabel = "MODEL")
    String id = "";

    @Override
    void run(MeshClient client, PrintWriter out) {
      var unused =
          client
              .management()
              .unregisterModel(UnregisterModelRequest.newBuilder().setModelId(id).build());
      out.println("model " + id + ": unregistered");
    }
  }

  @Command(
      name = "alias",
      mixinStandardHelpOptions = true,
      description = {
        "Create a stable name for a model, or move it to another model.",
        "A move keeps serving the old model until the new one is loaded."
      })
  static final class AliasCommand extends ClientCommand {
    @Parameters(index = "0", paramLabel = "NAME")
    String name = "";

    @Parameters(index = "1", paramLabel = "MODEL", arity = "0..1", defaultValue = "")
    String model = "";

    @Option(names = "--owner", defaultValue = "", description = "Who may change it from now on.")
    String owner = "";

    @Option(names = "--force", description = "Move at once, loaded or not.")
    boolean force;

    @Option(names = "--wait", description = "Return when the move has ended.")
    boolean wait;

    @Option(names = "--delete", description = "Delete the alias.")
    boolean delete;

    @Override
    void run(MeshClient client, PrintWriter out) {
      if (delete == !model.isEmpty()) {
        throw new CommandException(
            "alias '" + name + "': needs either a MODEL or --delete",
            "for example ./orlop alias fraud fraud-7");
      }
      if (delete) {
        var unused =
            client
                .management()
                .deleteVModel(
                    DeleteVModelRequest.newBuilder().setVModelId(name).setOwner(owner).build());
        out.println("alias " + name + ": deleted");
        return;
      }
      print(
          out,
          name,
          client
              .management()
              .setVModel(
                  SetVModelRequest.newBuilder()
                      .setVModelId(name)
                      .setTargetModelId(model)
                      .setOwner(owner)
                      .setForce(force)
                      .setSync(wait)
                      .build()));
    }
  }

  @Command(
      name = "status",
      mixinStandardHelpOptions = true,
      description = "What the mesh knows of a model or an alias: where its copies are, and errors.")
  static final class StatusCommand extends ClientCommand {
    @Parameters(paramLabel = "NAME", description = "A model's id or an alias.")
    String name = "";

    @Option(
        names = "--why",
        description = "Also why each copy is where it is, and where the next one would go.")
    boolean why;

    @Override
    void run(MeshClient client, PrintWriter out) {
      status(client, out);
      if (why) {
        for (String line :
            client
                .pod()
                .explain(ExplainRequest.newBuilder().setName(name).build())
                .getLinesList()) {
          out.println("  " + line);
        }
      }
    }

    private void status(MeshClient client, PrintWriter out) {
      VModelStatusInfo alias =
          client
              .management()
              .getVModelStatus(GetVModelStatusRequest.newBuilder().setVModelId(name).build());
      if (alias.getStatus() != VModelStatusInfo.VModelStatus.NOT_FOUND) {
        print(out, name, alias);
        return;
      }
      ModelStatusInfo model =
          client
              .management()
              .getModelStatus(GetStatusRequest.newBuilder().setModelId(name).build());
      if (model.getStatus() == ModelStatusInfo.ModelStatus.NOT_FOUND) {
        throw new CommandException(
            "neither a model nor an alias is called '" + name + "'",
            "make it known with ./orlop register " + name + " --path …");
      }
      print(out, "model " + name, model, "");
    }
  }

  @Command(
      name = "infer",
      mixinStandardHelpOptions = true,
      description = {
        "Call a model with numbers from the command line.",
        "The rows go to its first input; their type comes from the model."
      },
      footerHeading = "%nExample:%n",
      footer = "  ./orlop infer iris-0 5.1,3.5,1.4,0.2 6.7,3.0,5.2,2.3")
  static final class Infer extends ClientCommand {
    @Parameters(index = "0", paramLabel = "NAME", description = "A model's id or an alias.")
    String name = "";

    @Parameters(index = "1..*", arity = "1..*", paramLabel = "ROW", description = "v1,v2,…")
    List<String> rows = List.of();

    @Override
    void run(MeshClient client, PrintWriter out) {
      ModelMetadataResponse metadata =
          client.inference().modelMetadata(ModelMetadataRequest.newBuilder().setName(name).build());
      TensorMetadata input = metadata.getInputs(0);
      ModelInferResponse response =
          client
              .inference()
              .modelInfer(
                  ModelInferRequest.newBuilder()
                      .setModelName(name)
                      .addInputs(tensor(input))
                      .build());
      for (int i = 0; i < response.getOutputsCount(); i++) {
        print(out, response, i);
      }
    }

    private ModelInferRequest.InferInputTensor tensor(TensorMetadata input) {
      InferTensorContents.Builder contents = InferTensorContents.newBuilder();
      int columns = -1;
      for (String row : rows) {
        String[] cells = row.split(",", -1);
        if (columns >= 0 && columns != cells.length) {
          throw new CommandException(
              "row '%s' has %d values, the first has %d".formatted(row, cells.length, columns),
              "give rows of equal length");
        }
        columns = cells.length;
        for (String cell : cells) {
          put(contents, input, cell);
        }
      }
      return ModelInferRequest.InferInputTensor.newBuilder()
          .setName(input.getName())
          .setDatatype(input.getDatatype())
          .addShape(rows.size())
          .addShape(columns)
          .setContents(contents)
          .build();
    }

    private static void put(
        InferTensorContents.Builder contents, TensorMetadata input, String cell) {
      try {
        String value = cell.strip();
        switch (input.getDatatype()) {
          case "FP32" -> contents.addFp32Contents(Float.parseFloat(value));
          case "FP64" -> contents.addFp64Contents(Double.parseDouble(value));
          case "INT8", "INT16", "INT32" -> contents.addIntContents(Integer.parseInt(value));
          case "INT64" -> contents.addInt64Contents(Long.parseLong(value));
          case "BOOL" -> contents.addBoolContents(Boolean.parseBoolean(value));
          default ->
              throw new CommandException(
                  "input '%s' has datatype %s".formatted(input.getName(), input.getDatatype()),
                  "call it through a V2 client; this command speaks numbers");
        }
      } catch (NumberFormatException e) {
        throw new CommandException(
            "'%s' is no %s".formatted(cell, input.getDatatype()), "give numbers", e);
      }
    }

    private static void print(PrintWriter out, ModelInferResponse response, int index) {
      ModelInferResponse.InferOutputTensor output = response.getOutputs(index);
      InferTensorContents contents = output.getContents();
      StringJoiner values = new StringJoiner(", ");
      contents.getFp32ContentsList().forEach(v -> values.add(v.toString()));
      contents.getFp64ContentsList().forEach(v -> values.add(v.toString()));
      contents.getIntContentsList().forEach(v -> values.add(v.toString()));
      contents.getInt64ContentsList().forEach(v -> values.add(v.toString()));
      contents.getUintContentsList().forEach(v -> values.add(Integer.toUnsignedString(v)));
      contents.getBoolContentsList().forEach(v -> values.add(v.toString()));
      contents.getBytesContentsList().forEach(v -> values.add(v.toStringUtf8()));
      if (index < response.getRawOutputContentsCount() && output.getDatatype().equals("FP32")) {
        var floats =
            response
                .getRawOutputContents(index)
                .asReadOnlyByteBuffer()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer();
        while (floats.hasRemaining()) {
          values.add(Float.toString(floats.get()));
        }
      }
      out.println(
          "%s %s%s: %s"
              .formatted(output.getName(), output.getDatatype(), output.getShapeList(), values));
    }
  }

  private static void print(PrintWriter out, String name, VModelStatusInfo alias) {
    out.println("alias " + name + ": " + alias.getStatus());
    if (!alias.getOwner().isEmpty()) {
      out.println("  owner " + alias.getOwner());
    }
    print(out, "serves " + alias.getActiveModelId(), alias.getActiveModelStatus(), "  ");
    if (alias.hasTargetModelStatus()) {
      print(out, "moves to " + alias.getTargetModelId(), alias.getTargetModelStatus(), "  ");
    }
  }

  private static void print(PrintWriter out, String what, ModelStatusInfo model, String indent) {
    out.println(indent + what + ": " + model.getStatus());
    List<String> lines = new ArrayList<>();
    model
        .getModelCopyInfosList()
        .forEach(
            copy ->
                lines.add(
                    "pod %s: %s since %s"
                        .formatted(
                            copy.getLocation(),
                            copy.getCopyStatus(),
                            Instant.ofEpochMilli(copy.getTime()))));
    model.getErrorsList().forEach(error -> lines.add("error: " + error));
    lines.forEach(line -> out.println(indent + "  " + line));
  }
}
