package orlop.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

@Tag("slow")
class PolicyBenchTest {
  @Test
  void theLastLineHoldsEveryFigure() throws Exception {
    StringWriter out = new StringWriter();
    CommandLine command = BenchCommand.commandLine().setOut(new PrintWriter(out));
    command.execute("policy", "--json", "--models", "200", "--calls", "6000", "--seeds", "1");
    String[] lines = out.toString().strip().split("\\R");
    JsonNode figures = new ObjectMapper().readTree(lines[lines.length - 1]);
    assertEquals(33, figures.get("cells").asInt());
    for (String name :
        new String[] {
          "zipfMedian",
          "azureMedian",
          "worstCell",
          "oracleGapClosed",
          "scanHitDropPoints",
          "lruScanHitDropPoints",
          "evictionMicrosAt20k"
        }) {
      assertTrue(figures.has(name), () -> name + " is missing in " + figures);
    }
    assertTrue(figures.get("zipfMedian").asDouble() > 1, figures::toString);
  }
}
