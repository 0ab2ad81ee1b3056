#pragma once
// create_whole: a file comes to be in one step, however the making of it ends.

#include <functional>
#include <string>

namespace tailrace::target::duckdb {

/// Lets `create` make a new database under another name beside `file`, and then renames it. DuckDB writes the
/// header of a new file in three parts; a kill or a full disk between them would leave a file that it refuses
/// ever after. Does nothing where `file` exists. What `create` throws is passed on, and nothing is left behind.
void create_whole(const std::string& file, const std::function<void(const std::string& path)>& create);

}  // namespace tailrace::target::duckdb
